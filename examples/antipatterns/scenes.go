package main

import (
	"github.com/crumplezone/stability/examples/antipatterns/blockedthreads"
	"github.com/crumplezone/stability/examples/antipatterns/cascadingfailures"
	"github.com/crumplezone/stability/examples/antipatterns/chainreactions"
	"github.com/crumplezone/stability/examples/antipatterns/dogpile"
	"github.com/crumplezone/stability/examples/antipatterns/forcemultiplier"
	"github.com/crumplezone/stability/examples/antipatterns/integrationpoints"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/examples/antipatterns/scalingeffects"
	"github.com/crumplezone/stability/examples/antipatterns/selfdenial"
	"github.com/crumplezone/stability/examples/antipatterns/slainversion"
	"github.com/crumplezone/stability/examples/antipatterns/slowresponses"
	"github.com/crumplezone/stability/examples/antipatterns/unbalancedcapacities"
	"github.com/crumplezone/stability/examples/antipatterns/unboundedresults"
	"github.com/crumplezone/stability/examples/antipatterns/users"
)

// scenes are the anti-patterns, in the order of the book.
var scenes = []scene.Scene{
	integrationpoints.Scene,
	chainreactions.Scene,
	cascadingfailures.Scene,
	users.Scene,
	blockedthreads.Scene,
	selfdenial.Scene,
	scalingeffects.Scene,
	unbalancedcapacities.Scene,
	dogpile.Scene,
	forcemultiplier.Scene,
	slowresponses.Scene,
	slainversion.Scene,
	unboundedresults.Scene,
}

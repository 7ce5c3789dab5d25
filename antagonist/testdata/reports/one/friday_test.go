// Package one is one of two with a test of the same name.
package one

import (
	"context"
	"testing"
	"time"

	"github.com/crumplezone/stability/antagonist"
)

func TestFriday(t *testing.T) {
	antagonist.Run(t, antagonist.Scenario{
		For: time.Second, Load: antagonist.Load{{Rate: antagonist.Constant(10)}},
		Client: func(*antagonist.World) antagonist.Client {
			return func(context.Context, *antagonist.Request) error { return nil }
		},
	})
}

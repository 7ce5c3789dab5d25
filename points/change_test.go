package points_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/points"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

var (
	byFile     = points.Change{Source: points.File, Who: "policies.yaml"}
	byOperator = points.Change{Source: points.Operator, Who: "ada", Why: "test"}
)

// one returns the point of a policy and name.
func one(t *testing.T, policy, name string) points.Point {
	t.Helper()
	for _, p := range named(name) {
		if p.Policy == policy {
			return p
		}
	}
	require.Fail(t, "no such point", "%s %s", policy, name)
	return points.Point{}
}

// What a point shows of a setting is what Set takes, for each setting of each policy.
func TestEverySettingCanBeSetToWhatItIs(t *testing.T) {
	const name = "TestEverySettingCanBeSet"
	keep := []any{
		breaker.New(breaker.Config{Name: name, SlowCall: time.Second}),
		bulkhead.New(bulkhead.Config{Name: name, Limit: 20, Queue: 10, MaxWait: time.Second}),
		fallback.New(fallback.Config{Name: name}),
		flight.New[int](flight.Config{Name: name, StaleIfError: time.Minute}),
		hedge.New(hedge.Config{Name: name}),
		ratelimit.New(ratelimit.Config{Name: name, Rate: 10.5}),
		retry.New(retry.Config{Name: name}),
		timeout.New(timeout.Config{Name: name, After: time.Second}),
	}
	list := named(name)
	require.Len(t, list, len(keep))
	for _, p := range list {
		require.NotEmpty(t, p.Settings)
		for _, s := range p.Settings {
			require.Equal(t, points.Code, s.Source)
			require.NoError(t, points.Set(p.Policy, name, map[string]string{s.Name: s.Value}, byFile), "%s %s", p.Policy, s.Name)
			is, ok := one(t, p.Policy, name).Setting(s.Name)
			require.True(t, ok)
			require.Equal(t, s.Value, is.Value, "%s %s", p.Policy, s.Name)
			require.Equal(t, points.File, is.Source)
			require.Error(t, points.Set(p.Policy, name, map[string]string{s.Name: "no such value"}, byFile), "%s %s", p.Policy, s.Name)
		}
		mode, ok := p.Setting("mode")
		require.True(t, ok, p.Policy)
		require.Equal(t, "on", mode.Value)
		require.NoError(t, points.Set(p.Policy, name, map[string]string{"mode": "off"}, byFile), p.Policy)
		is, _ := one(t, p.Policy, name).Setting("mode")
		require.Equal(t, "off", is.Value, p.Policy)
	}
	runtime.KeepAlive(keep)
}

// An operator's value goes before a file's, and that before the code's. It ends by itself, and
// what was said further down in the meantime holds then.
//
// Contract: 57
func TestPrecedence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "TestPrecedence"
		b := bulkhead.New(bulkhead.Config{Name: name, Limit: 10})
		set := func(limit string, by points.Change) {
			t.Helper()
			require.NoError(t, points.Set("bulkhead", name, map[string]string{"limit": limit}, by))
		}
		is := func(limit string, source points.Origin) points.Setting {
			t.Helper()
			s, ok := one(t, "bulkhead", name).Setting("limit")
			require.True(t, ok)
			require.Equal(t, limit, s.Value)
			require.Equal(t, source, s.Source)
			require.Equal(t, limit, strconv.Itoa(b.Stats().Limit))
			return s
		}
		is("10", points.Code)
		set("20", byFile)
		is("20", points.File)
		set("30", byOperator)
		s := is("30", points.Operator)
		require.Equal(t, time.Hour, time.Until(s.Until), "an hour, unless said otherwise")
		set("25", byFile)
		is("30", points.Operator)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, is("25", points.File).Until)
		set("", byFile)
		is("10", points.Code)

		short, long := byOperator, byOperator
		short.Until, long.Until = time.Now().Add(time.Minute), time.Now().Add(2*time.Minute)
		set("40", short)
		require.NoError(t, points.Set("bulkhead", name, map[string]string{"observe": "true"}, long))
		time.Sleep(time.Minute)
		synctest.Wait()
		is("10", points.Code)
		require.True(t, b.Config().Observe)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, b.Config().Observe)
		set("50", byOperator)
		set("", byOperator)
		is("10", points.Code)
		time.Sleep(2 * time.Hour)
		is("10", points.Code)
		runtime.KeepAlive(b)
	})
}

// All or nothing: of the values, and of the policies that have the name.
//
// Contract: 57
func TestSetIsAllOrNothing(t *testing.T) {
	const name = "TestSetIsAllOrNothing"
	first, second := bulkhead.New(bulkhead.Config{Name: name, Limit: 10}), bulkhead.New(bulkhead.Config{Name: name, Limit: 20, Queue: 5, MaxWait: 1})
	for _, values := range []map[string]string{
		{"limit": "5", "queue": "-1"},
		{"limit": "5", "colour": "red"},
		{"limit": "5", "queue": "many"},
		{"limit": "0"},
		{"limit": "5", "mode": "half"},
		{"limit": "-5", "mode": "off"},
		{"limit": "30", "queue": "0"}, // the second has a MaxWait, which needs one
	} {
		require.Error(t, points.Set("bulkhead", name, values, byFile), "%v", values)
		require.Equal(t, 10, first.Config().Limit, "%v", values)
		require.Equal(t, 20, second.Config().Limit, "%v", values)
		require.Equal(t, stability.ModeOn, second.Stats().Mode, "%v", values)
		for _, p := range named(name) {
			s, _ := p.Setting("limit")
			require.Equal(t, points.Code, s.Source, "%v", values)
		}
	}
	require.NoError(t, points.Set("bulkhead", name, map[string]string{"limit": "7", "mode": "observe"}, byFile))
	require.Equal(t, 7, first.Config().Limit)
	require.Equal(t, 7, second.Config().Limit)
	require.Equal(t, stability.ModeObserve, second.Stats().Mode)
	runtime.KeepAlive([]any{first, second})
}

func TestSetSaysWhatIsWrong(t *testing.T) {
	const name = "TestSetSaysWhatIsWrong"
	b := breaker.New(breaker.Config{Name: name})
	h := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Name: name})
	set := func(by points.Change) error {
		return points.Set("breaker", name, map[string]string{"min_calls": "5"}, by)
	}
	require.ErrorIs(t, points.Set("breaker", "nobody", nil, byFile), points.ErrNotFound)
	require.ErrorIs(t, points.Do("breaker", "nobody", "", "reset", byOperator), points.ErrNotFound)
	require.ErrorContains(t, set(points.Change{}), "Source")
	require.ErrorContains(t, set(points.Change{Source: 99}), "Source")
	require.ErrorContains(t, set(points.Change{Source: points.Operator, Until: time.Now().Add(-1)}), "Until")
	require.ErrorContains(t, set(points.Change{Source: points.File, Until: time.Now().Add(time.Hour)}), "Until")
	require.ErrorContains(t, points.Set("breaker", name, map[string]string{"min_calls": strings.Repeat("x", 1<<20)}, byFile), "whole number")
	require.ErrorContains(t, points.Set("handler", name, map[string]string{"min_timeout": "1s"}, byFile), "no settings that can be changed")
	require.ErrorContains(t, points.Do("handler", name, "", "reset", byOperator), "no actions")
	require.ErrorContains(t, points.Do("breaker", name, "", "explode", byOperator), "force_open, force_closed, auto or reset")
	require.ErrorContains(t, points.Do("breaker", name, "eu", "reset", byOperator), "not a Group")
	require.ErrorContains(t, points.Do("breaker", name, "", "reset", byFile), "Operator")
	require.NoError(t, points.Set("breaker", name, nil, byFile))
	runtime.KeepAlive([]any{b, h})
}

// A forced breaker decides for itself again when the operator's time is over. An action makes
// no member.
//
// Contract: 57
func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "TestDo"
		g := breaker.NewGroup(breaker.Config{Name: name}, stability.Keys{})
		eu, us := g.Get("eu"), g.Get("us")
		for _, b := range []*breaker.Breaker{eu, us} { // else they may be forgotten
			_ = b.Run(t.Context(), func(context.Context) error { return errCall })
		}
		do := func(key, action string, by points.Change) error { return points.Do("breaker", name, key, action, by) }
		state := func(key string) string {
			for _, m := range points.Members("breaker", name) {
				if m.Key == key {
					return m.State
				}
			}
			return "none"
		}
		require.NoError(t, do("eu", "force_open", byOperator))
		require.Equal(t, "forced_open", state("eu"))
		require.Equal(t, "closed", state("us"))
		require.Error(t, do("mars", "force_open", byOperator))
		require.Equal(t, "none", state("mars"))
		_, found := g.Lookup("mars")
		require.False(t, found)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, "closed", state("eu"))

		soon := func() points.Change {
			by := byOperator
			by.Until = time.Now().Add(time.Minute)
			return by
		}
		require.NoError(t, do("eu", "force_open", soon()))
		require.NoError(t, do("eu", "auto", byOperator))
		require.NoError(t, do("eu", "force_closed", byOperator), "which the end of the former does not end")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, "forced_closed", state("eu"))
		require.NoError(t, do("eu", "reset", byOperator))
		require.Equal(t, "closed", state("eu"))
		require.Equal(t, stability.Calls{Failed: 1}, points.Members("breaker", name)[0].Calls)

		require.NoError(t, do("", "force_open", soon()))
		require.ErrorIs(t, g.Get("later").Run(t.Context(), ok), breaker.ErrForcedOpen)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, g.Get("later").Run(t.Context(), ok))
		require.Equal(t, "closed", state("us"))
		runtime.KeepAlive(g)
	})
}

func TestMembers(t *testing.T) {
	const name = "TestMembers"
	groups := []any{
		breaker.NewGroup(breaker.Config{Name: name}, stability.Keys{}),
		bulkhead.NewGroup(bulkhead.Config{Name: name, Limit: 2}, stability.Keys{}),
		ratelimit.NewGroup(ratelimit.Config{Name: name, Rate: 1}, stability.Keys{}),
		timeout.NewGroup(timeout.Config{Name: name, After: time.Second}, stability.Keys{}),
	}
	for _, key := range []string{"us", "eu"} {
		policies := []stability.Policy{
			groups[0].(*breaker.Group).Get(key), groups[1].(*bulkhead.Group).Get(key),
			groups[2].(*ratelimit.Group).Get(key), groups[3].(*timeout.Group).Get(key),
		}
		for _, p := range policies {
			require.NoError(t, p.Run(t.Context(), func(context.Context) error { return nil }))
		}
	}
	for _, policy := range []string{"breaker", "bulkhead", "ratelimit", "timeout"} {
		members := points.Members(policy, name)
		require.Len(t, members, 2, policy)
		for i, key := range []string{"eu", "us"} {
			require.Equal(t, key, members[i].Key, policy)
			require.Equal(t, stability.Calls{Succeeded: 1}, members[i].Calls, policy)
			require.NotEmpty(t, members[i].Figures, policy)
		}
	}
	require.Empty(t, points.Members("breaker", "nobody"))
	runtime.KeepAlive(groups)
}

// A knob is a user's own policy.
type knob struct {
	name   string
	mu     sync.Mutex
	value  string
	broken string // what Set does: "error", "panic"
}

func (k *knob) source() points.Source[knob] {
	return points.Source[knob]{
		Read: func(k *knob) points.Point {
			k.mu.Lock()
			defer k.mu.Unlock()
			return points.Point{Policy: "knob", Name: k.name, Settings: []points.Setting{{Name: "value", Value: k.value}}}
		},
		Set: func(k *knob, values map[string]string) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			switch k.broken {
			case "error":
				return errors.New("the knob is stuck")
			case "panic":
				panic("the knob came off")
			}
			k.value = values["value"]
			return nil
		},
	}
}

func (k *knob) breaks(how string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = how
}

// A user's own policy is set as those of this module are. Where it refuses to take back what
// has ended, the point says so, and it is asked again.
//
// Contract: 57
func TestOwnPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "TestOwnPolicy"
		k := &knob{name: name, value: "1"}
		points.Register(k, k.source())
		set := func(value string) error {
			return points.Set("knob", name, map[string]string{"value": value}, byOperator)
		}
		k.breaks("error")
		require.EqualError(t, set("2"), "the knob is stuck")
		k.breaks("panic")
		require.ErrorContains(t, set("2"), "the knob came off")
		k.breaks("")
		require.Equal(t, "1", setting(one(t, "knob", name), "value"))
		require.NoError(t, set("2"))
		require.Equal(t, "2", setting(one(t, "knob", name), "value"))
		k.breaks("error")
		time.Sleep(time.Hour)
		synctest.Wait()
		p := one(t, "knob", name)
		require.Equal(t, "2", setting(p, "value"))
		require.Contains(t, p.Problem, "the knob is stuck")
		k.breaks("")
		time.Sleep(time.Minute)
		synctest.Wait()
		p = one(t, "knob", name)
		require.Equal(t, "1", setting(p, "value"))
		require.Empty(t, p.Problem)
		require.ErrorContains(t, points.Set("knob", name, map[string]string{"other": "1"}, byFile), `has no setting other`)
		runtime.KeepAlive(k)
	})
	require.Panics(t, func() { points.Register(&knob{}, points.Source[knob]{}) })
}

// Readings and changes by many goroutines at once.
//
// Contract: 45
func TestChangesAtOnce(t *testing.T) {
	const name = "TestChangesAtOnce"
	g := breaker.NewGroup(breaker.Config{Name: name}, stability.Keys{})
	l := ratelimit.New(ratelimit.Config{Name: name, Rate: 1e6})
	var wg sync.WaitGroup
	for who := range 8 {
		wg.Go(func() {
			for n := range 100 {
				by := byOperator
				by.Until = time.Now().Add(time.Duration(n) * 10 * time.Microsecond)
				_ = points.Set("breaker", name, map[string]string{"min_calls": strconv.Itoa(1 + n)}, byFile)
				_ = points.Set("ratelimit", name, map[string]string{"rate": strconv.Itoa(1e6 + n), "mode": "observe"}, by)
				_ = g.Get(fmt.Sprint(who)).Run(context.Background(), func(context.Context) error { return errCall })
				_ = points.Do("breaker", name, fmt.Sprint(n%8), "force_open", by)
				_ = points.Members("breaker", name)
				_ = l.Allow()
				_ = points.List()
			}
		})
	}
	wg.Wait()
	require.NoError(t, points.Set("ratelimit", name, map[string]string{"rate": "", "mode": ""}, byOperator))
	s, _ := one(t, "ratelimit", name).Setting("rate")
	require.Equal(t, points.Code, s.Source)
	require.Equal(t, "1000000", s.Value)
	require.Equal(t, stability.ModeOn, l.Stats().Mode)
	require.Equal(t, "100", setting(one(t, "breaker", name), "min_calls"))
	runtime.KeepAlive([]any{g, l})
}

func TestOriginsAreText(t *testing.T) {
	for text, o := range map[string]points.Origin{"code": points.Code, "file": points.File, "operator": points.Operator} {
		out, err := o.MarshalText()
		require.NoError(t, err)
		require.Equal(t, text, string(out))
		var back points.Origin
		require.NoError(t, back.UnmarshalText(out))
		require.Equal(t, o, back)
	}
	back := points.File
	require.Error(t, back.UnmarshalText([]byte("god")))
	require.Equal(t, points.File, back)
	require.Equal(t, "Origin(9)", points.Origin(9).String())
}

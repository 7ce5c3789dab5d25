package flight_test

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/flight"
)

// modelCall is one call of the function, and what the model knows of it.
type modelCall struct {
	ctx     context.Context
	end     chan string // "value", "gone", "error", "panic" or "goexit": how it is to end
	key     string
	value   string
	began   time.Time
	callers []*modelCaller // who still wait, the last one who left included
	left    bool           // by the last one
	void    bool           // a later call found no value
}

// modelCaller is one caller, and what the model says that it gets.
type modelCaller struct {
	*caller
	cancel context.CancelFunc
	want   result
}

func checkModel(rt *rapid.T) {
	const (
		maxAge  = time.Minute
		maxKept = 2
	)
	f := flight.New[string](flight.Config{StaleIfError: maxAge, MaxStale: maxKept, Classify: goneIsAnAnswer})
	var (
		calls   []*modelCall              // that have not ended
		current = map[string]*modelCall{} // by key, those that can be joined
		kept    []*modelCall              // calls whose values are kept, the oldest first
		all     []*modelCaller
		counts  flight.Stats
	)
	stale := func(key string) *modelCall {
		kept = slices.DeleteFunc(kept, func(c *modelCall) bool { return time.Since(c.began) > maxAge })
		if i := slices.IndexFunc(kept, func(c *modelCall) bool { return c.key == key }); i >= 0 {
			return kept[i]
		}
		return nil
	}
	end := func(c *modelCall, how string) {
		calls = slices.DeleteFunc(calls, func(other *modelCall) bool { return other == c })
		if current[c.key] == c {
			delete(current, c.key)
		}
		var want result
		switch how {
		case "value":
			counts.Succeeded++
			want = result{value: c.value, returned: true}
			if old := stale(c.key); !c.void && (old == nil || !old.began.After(c.began)) {
				kept = slices.DeleteFunc(kept, func(other *modelCall) bool { return other == old })
				kept = append(kept, c)
				slices.SortStableFunc(kept, func(a, b *modelCall) int { return a.began.Compare(b.began) })
				kept = kept[max(len(kept)-maxKept, 0):]
			}
		case "gone":
			counts.Succeeded++
			want = result{err: errGone, returned: true}
			kept = slices.DeleteFunc(kept, func(old *modelCall) bool { return old.key == c.key && old.began.Before(c.began) })
			for _, other := range calls {
				other.void = other.void || other.key == c.key && other.began.Before(c.began)
			}
		case "error":
			want = result{value: "half", err: errCall, returned: true}
			good := stale(c.key)
			switch {
			case c.left:
				counts.Ignored++
				want = result{err: context.Canceled, returned: true}
			case good != nil:
				counts.Failed++
				counts.Stale += int64(len(c.callers))
				want = result{value: good.value, degraded: &stability.Degraded{Cause: errCall, Age: time.Since(good.began)}, returned: true}
			default:
				counts.Failed++
			}
		case "panic":
			counts.Failed++
			want = result{panicked: errCall}
		case "goexit":
			counts.Failed++
			want = result{goexit: true}
		}
		for _, w := range c.callers {
			w.want = want
		}
		c.end <- how
	}
	// Whatever comes of the check, the bubble has to come to rest.
	defer func() {
		for _, c := range slices.Clone(calls) {
			end(c, "value")
		}
		for _, w := range all {
			w.cancel()
		}
		synctest.Wait()
	}()

	made := 0
	rt.Repeat(map[string]func(*rapid.T){
		"arrive": func(rt *rapid.T) {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
			ctx, cancel := context.WithCancel(context.Background())
			w := &modelCaller{cancel: cancel}
			all = append(all, w)
			c := current[key]
			if c == nil {
				made++
				time.Sleep(1) // no two calls of a key began at the same time
				c = &modelCall{key: key, value: strconv.Itoa(made), began: time.Now(), end: make(chan string)}
				calls = append(calls, c)
				current[key] = c
			} else {
				counts.Shared++
			}
			c.callers = append(c.callers, w)
			w.caller = do(ctx, f, key, func(ctx context.Context) (string, error) {
				c.ctx = ctx
				switch <-c.end {
				case "gone":
					return "", errGone
				case "error":
					return "half", errCall
				case "panic":
					panic(errCall)
				case "goexit":
					runtime.Goexit()
				}
				return c.value, nil
			})
		},
		"leave": func(rt *rapid.T) {
			if len(all) == 0 {
				return // a Skip would starve a fuzzer that always chooses it
			}
			w := all[rapid.IntRange(0, len(all)-1).Draw(rt, "caller")]
			w.cancel()
			for _, c := range calls {
				i := slices.Index(c.callers, w)
				switch {
				case i < 0 || c.left:
				case len(c.callers) == 1:
					c.left = true
					delete(current, c.key)
				default:
					c.callers = slices.Delete(c.callers, i, i+1)
					w.want = result{err: context.Canceled, returned: true}
				}
			}
		},
		"end": func(rt *rapid.T) {
			if len(calls) == 0 {
				return
			}
			c := calls[rapid.IntRange(0, len(calls)-1).Draw(rt, "call")]
			end(c, rapid.SampledFrom([]string{"value", "value", "gone", "error", "error", "panic", "goexit"}).Draw(rt, "how"))
		},
		"wait": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
		},
		"": func(rt *rapid.T) {
			synctest.Wait()
			for _, w := range all {
				require.Equal(rt, w.want, w.got())
			}
			for _, c := range calls {
				require.Equal(rt, c.left, c.ctx.Err() != nil, "the context of a call ends when the last caller has left, and not before")
			}
			stale("") // what is too old
			counts.Running, counts.Kept = len(calls), len(kept)
			require.Equal(rt, counts, f.Stats())
		},
	})
}

func TestModel(t *testing.T) {
	// rapid asks a *testing.T for its deadline, which a bubble does not allow.
	synctest.Test(t, func(t *testing.T) { rapid.Check(struct{ *testing.T }{t}, checkModel) })
}

func FuzzModel(f *testing.F) {
	check := rapid.MakeFuzz(checkModel)
	f.Fuzz(func(t *testing.T, input []byte) {
		synctest.Test(t, func(t *testing.T) { check(t, input) })
	})
}

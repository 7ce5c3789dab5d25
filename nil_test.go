package stability_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/fallback"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// nils are the nil pointers of the types that a user has in a field and leaves nil.
var nils = []any{
	(*stability.Pass)(nil), (*stability.Group[breaker.Breaker])(nil),
	(*breaker.Breaker)(nil), (*breaker.Group)(nil),
	(*bulkhead.Bulkhead)(nil), (*bulkhead.Group)(nil),
	(*timeout.Timeout)(nil), (*timeout.Group)(nil),
	(*ratelimit.Limiter)(nil), (*ratelimit.Group)(nil),
	(*retry.Retry)(nil), (*retry.Budget)(nil),
	(*hedge.Hedge)(nil), (*fallback.Fallback)(nil), (*flight.Flights[int])(nil),
	(*stabilityhttp.Transport)(nil), (*stabilityhttp.Handler)(nil),
}

// noSwitch are the pointer types that are no policies, with the reason; and the methods
// that are tested where they are.
var noSwitch = map[string]string{
	"stability.Admissions": "a value, whose zero value is ready to use",
	"stability.Rejection":  "an error", "timeout.Error": "an error", "retry.Error": "an error",
	"stability.Outcome": "a value to decode into", "stability.Mode": "a value to decode into", "points.Origin": "a value to decode into", "stability.Criticality": "a value to decode into", "breaker.State": "a value to decode into",
	"stabilityhttp.Transport.RoundTrip":            "asks http.DefaultTransport",
	"stabilityhttp.Transport.CloseIdleConnections": "asks http.DefaultTransport",
	"stabilityhttp.Handler.ServeHTTP":              "asks http.DefaultServeMux",
}

// nameOf is the name of the type that a pointer type points to, without what it is of.
func nameOf(pointer reflect.Type) string {
	name, _, _ := strings.Cut(pointer.Elem().String(), "[")
	return name
}

var errNil = errors.New("the call's own error")

// arguments makes arguments for a method, and notes how often the function among them was
// called.
func arguments(t *testing.T, method reflect.Type, calls *int) []reflect.Value {
	t.Helper()
	var in []reflect.Value
	for i := range method.NumIn() {
		of := method.In(i)
		var v any
		switch of {
		case reflect.TypeFor[context.Context]():
			v = t.Context()
		case reflect.TypeFor[func(context.Context) error]():
			v = func(context.Context) error { *calls++; return errNil }
		case reflect.TypeFor[func(context.Context) (int, error)]():
			v = func(context.Context) (int, error) { *calls++; return 7, errNil }
		case reflect.TypeFor[error]():
			v = errNil
		case reflect.TypeFor[string]():
			v = "key"
		case reflect.TypeFor[int]():
			v = 1
		case reflect.TypeFor[float64]():
			v = 1.0
		case reflect.TypeFor[time.Duration]():
			v = time.Second
		default: // an interface or a function that may be nil
			in = append(in, reflect.Zero(of))
			continue
		}
		in = append(in, reflect.ValueOf(v))
	}
	return in
}

// Every method of a nil policy can be called, lets the call through as it is, and returns
// what is as good as nothing: nil policies, empty figures, no error but the call's own.
//
// Contract: 54
func TestNilIsAnOffSwitch(t *testing.T) {
	for _, policy := range nils {
		of := reflect.TypeOf(policy)
		for i := range of.NumMethod() {
			name := nameOf(of) + "." + of.Method(i).Name
			if noSwitch[name] != "" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				method, calls := reflect.ValueOf(policy).Method(i), 0
				out := method.Call(arguments(t, method.Type(), &calls))
				takesCall := false
				for j := range method.Type().NumIn() {
					in := method.Type().In(j)
					takesCall = takesCall || in == reflect.TypeFor[func(context.Context) error]() || in == reflect.TypeFor[func(context.Context) (int, error)]()
				}
				want := 0
				if takesCall {
					want = 1
				}
				require.Equal(t, want, calls, "the call is made once")
				for _, v := range out {
					switch v := v.Interface().(type) {
					case error:
						require.Equal(t, errNil, v, "no error but the call's own")
					case nil:
						require.False(t, takesCall && !strings.HasSuffix(name, "Flights.Do"), "the call's error comes back")
					case context.Context:
						require.NoError(t, v.Err(), "the caller's own")
					case *stability.Pass:
						require.Equal(t, errNil, v.Done(errNil))
					case stability.Gate: // a breaker of a nil Group, or the gate of one
						require.Equal(t, errNil, v.Run(t.Context(), func(context.Context) error { return errNil }))
					default:
						if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer {
							require.True(t, p.IsNil(), "a nil Group has nil members")
						}
					}
				}
			})
		}
	}
}

// The list above is that of all pointer types with methods that there are.
func TestNilsAreComplete(t *testing.T) {
	known := map[string]bool{}
	for _, policy := range nils {
		known[nameOf(reflect.TypeOf(policy))] = true
	}
	files, err := filepath.Glob("api/*.txt")
	require.NoError(t, err)
	pointer := regexp.MustCompile(`(?m)^method \(\*([A-Z]\w*)`)
	found := 0
	for _, file := range files {
		pkg := strings.TrimSuffix(filepath.Base(file), ".txt")
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if !strings.Contains(string(text), "github.com/crumplezone/stability") || pkg == "antagonist" {
			continue // a module of its own, which tests use
		}
		for _, match := range pointer.FindAllStringSubmatch(string(text), -1) {
			found++
			name := pkg + "." + match[1]
			require.True(t, known[name] || noSwitch[name] != "", "%s is neither an off switch nor said to be none", name)
		}
	}
	require.Greater(t, found, 50)
}

// The functions with a policy among their parameters, and all that takes a policy in.
//
// Contract: 54
func TestNilWhereverItIsPut(t *testing.T) {
	ctx := t.Context()
	calls := 0
	call := func(context.Context) (int, error) { calls++; return 7, errNil }
	requireCall := func(v int, err error) {
		t.Helper()
		require.Equal(t, 7, v)
		require.Equal(t, errNil, err)
		require.Equal(t, 1, calls)
		calls = 0
	}
	requireCall(breaker.Do(ctx, nil, call))
	requireCall(bulkhead.Do(ctx, nil, call))
	requireCall(timeout.Do(ctx, nil, call))
	requireCall(ratelimit.Do(ctx, nil, call))
	requireCall(retry.Do(ctx, nil, call))
	requireCall(hedge.Do(ctx, nil, call, nil))
	v, release, err := hedge.Open(ctx, nil, call, nil)
	release()
	requireCall(v, err)
	v, degraded, err := fallback.Do(ctx, nil, call, nil)
	require.Nil(t, degraded)
	requireCall(v, err)
	v, degraded, err = (*flight.Flights[int])(nil).Do(ctx, "key", call)
	require.Nil(t, degraded)
	requireCall(v, err)

	gates := []stability.Gate{
		nil, (*breaker.Breaker)(nil), (*bulkhead.Bulkhead)(nil), (*timeout.Timeout)(nil), (*ratelimit.Limiter)(nil),
		(*breaker.Group)(nil).Get("key"), (*bulkhead.Group)(nil).Get("key"), (*timeout.Group)(nil).Get("key"), (*ratelimit.Group)(nil).Get("key"),
		stabilityhttp.Gates{}.Breaker, stabilityhttp.Gates{}.Bulkhead, stabilityhttp.Gates{}.RateLimit, stabilityhttp.Gates{}.Upgrades,
		(*stabilityhttp.Transport)(nil).Gates("key").Breaker,
	}
	policies := []stability.Policy{nil, (*retry.Retry)(nil)}
	for _, g := range gates {
		requireCall(stability.Do(ctx, stability.Gates(g), call))
		if g != nil {
			policies = append(policies, g)
		}
	}
	for _, p := range policies {
		requireCall(stability.Do(ctx, p, call))
		requireCall(stability.Do(ctx, stability.Chain(p), call))
		requireCall(stability.Do(ctx, stability.Chain(p, stability.Chain(p, nil)), call))
		err := retry.New(retry.Config{Attempts: 1}).Around(ctx, p, func(ctx context.Context) error { _, err := call(ctx); return err })
		require.ErrorIs(t, err, errNil)
		require.Equal(t, 1, calls)
		calls = 0
	}
	requireCall(stability.Do(ctx, stability.Chain(policies...), call))
	requireCall(stability.Do(ctx, stability.Gates(gates...), call))
	pass, err := stability.Gates(gates...).Enter(ctx)
	require.NoError(t, err)
	pass.Answered()
	require.Equal(t, errNil, pass.Done(errNil))

	require.NoError(t, stabilityhttp.HandlerConfig{RateLimit: (*ratelimit.Group)(nil), NetworkLimit: (*ratelimit.Group)(nil), Bulkhead: (*bulkhead.Bulkhead)(nil)}.Validate())
	require.NotZero(t, retry.New(retry.Config{Budget: (*retry.Budget)(nil)}).Stats().Budget.Limit, "a budget of its own")
}

// Whatever a policy refuses for, a library that keeps only the innermost error hands on a
// refusal: a limiter's was a failure to the breaker around it. What says that a call was
// made, and how it went, is none.
func TestReasonsOfRefusals(t *testing.T) {
	for _, reason := range []error{
		breaker.ErrOpen, breaker.ErrForcedOpen, bulkhead.ErrFull, bulkhead.ErrNoTime, ratelimit.ErrLimited, stabilityhttp.ErrQuota,
	} {
		require.ErrorIs(t, reason, stability.ErrRejected)
		require.True(t, stability.Rejected(reason))
		require.Equal(t, stability.Ignored, stability.Classify(t.Context(), reason))
	}
	for _, made := range []error{
		retry.ErrExhausted, retry.ErrBudget, retry.ErrDeadline, retry.ErrPushback, retry.ErrRefused, timeout.ErrExceeded, hedge.ErrLost, stabilityhttp.ErrNoReplay,
	} {
		require.NotErrorIs(t, made, stability.ErrRejected)
	}
}

package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go"
	failsafebulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
)

// A setting is what a row needs of a breaker.
type setting struct {
	consecutive int           // opens after as many failures in a row
	ratio       float64       // or from this share of failures on,
	minCalls    int           // among at least as many calls
	window      time.Duration // in this time
	openFor     time.Duration // 1s where it is 0
	probes      int           // 1 where it is 0
	jitter      bool          // of the open time
	onChange    func(from, to string)
}

// A subject is a breaker of one of the libraries.
type subject struct {
	run   func(ctx context.Context, fn func(context.Context) error) error
	state func() string // closed, half-open or open
	count func() int    // calls in the window
}

const (
	closed   = "closed"
	open     = "open"
	halfOpen = "half-open"
)

func newSubject(column string, s setting) (subject, bool) {
	if s.openFor == 0 {
		s.openFor = time.Second
	}
	s.probes = max(1, s.probes)
	switch column {
	case ours:
		return ourBreaker(s), true
	case failsafeGo:
		return failsafeBreaker(s), true
	case gobreakerV2:
		return sonyBreaker(s), true
	}
	return subject{}, false
}

func ourBreaker(s setting) subject {
	cfg := breaker.Config{FailureRatio: s.ratio, MinCalls: s.minCalls, Window: s.window, Consecutive: s.consecutive, OpenFor: s.openFor, Probes: s.probes}
	names := map[breaker.State]string{breaker.Closed: closed, breaker.HalfOpen: halfOpen, breaker.Open: open}
	if s.onChange != nil {
		cfg.OnChange = func(c breaker.Change) { s.onChange(names[c.From], names[c.To]) }
	}
	b := breaker.New(cfg)
	return subject{
		run:   b.Run,
		state: func() string { return names[b.State()] },
		count: func() int { w := b.Stats().Window; return int(w.Successes + w.Failures) },
	}
}

func failsafeBreaker(s setting) subject {
	builder := circuitbreaker.NewBuilder[any]().WithDelay(s.openFor).WithSuccessThreshold(uint(s.probes))
	if s.consecutive > 0 {
		builder = builder.WithFailureThreshold(uint(s.consecutive))
	} else {
		builder = builder.WithFailureRateThreshold(s.ratio, uint(s.minCalls), s.window)
	}
	if s.jitter {
		builder = builder.WithJitterFactor(0.1)
	}
	names := map[circuitbreaker.State]string{circuitbreaker.ClosedState: closed, circuitbreaker.HalfOpenState: halfOpen, circuitbreaker.OpenState: open}
	if s.onChange != nil {
		builder = builder.OnStateChanged(func(e circuitbreaker.StateChangedEvent) { s.onChange(names[e.OldState], names[e.NewState]) })
	}
	b := builder.Build()
	executor := failsafe.With[any](b)
	return subject{
		run: func(ctx context.Context, fn func(context.Context) error) error {
			return executor.WithContext(ctx).RunWithExecution(func(e failsafe.Execution[any]) error { return fn(e.Context()) })
		},
		state: func() string { return names[b.State()] },
		count: func() int { return int(b.Metrics().Executions()) },
	}
}

func sonyBreaker(s setting) subject {
	settings := gobreaker.Settings{MaxRequests: uint32(s.probes), Interval: s.window, BucketPeriod: s.window / 10, Timeout: s.openFor}
	settings.ReadyToTrip = func(c gobreaker.Counts) bool {
		if s.consecutive > 0 {
			return c.ConsecutiveFailures >= uint32(s.consecutive)
		}
		return c.Requests >= uint32(s.minCalls) && float64(c.TotalFailures) >= s.ratio*float64(c.Requests)
	}
	names := map[gobreaker.State]string{gobreaker.StateClosed: closed, gobreaker.StateHalfOpen: halfOpen, gobreaker.StateOpen: open}
	if s.onChange != nil {
		settings.OnStateChange = func(_ string, from, to gobreaker.State) { s.onChange(names[from], names[to]) }
	}
	b := gobreaker.NewCircuitBreaker[struct{}](settings)
	return subject{
		run: func(ctx context.Context, fn func(context.Context) error) error {
			_, err := b.Execute(func() (struct{}, error) { return struct{}{}, fn(ctx) })
			return err
		},
		state: func() string { return names[b.State()] },
		count: func() int { return int(b.Counts().Requests) },
	}
}

var errCall = errors.New("the call's own error")

func ok(context.Context) error     { return nil }
func failed(context.Context) error { return errCall }

// asks is a cell in virtual time, with a breaker that opens after five failures in a
// row where the setting says nothing else.
func asks(s setting, cell func(t *testing.T, b subject) string) func(*testing.T, string) string {
	if s.consecutive == 0 && s.ratio == 0 {
		s.consecutive = 5
	}
	return func(t *testing.T, column string) string {
		return bubble(t, func(t *testing.T) string {
			b, there := newSubject(column, s)
			if !there {
				return absent
			}
			return cell(t, b)
		})
	}
}

// only is a cell that this library alone has a part for.
func only(why string, cell func(t *testing.T) string) func(*testing.T, string) string {
	return func(t *testing.T, column string) string {
		switch column {
		case ours:
			return bubble(t, cell)
		case failsafeGo, gobreakerV2:
			return absent + why
		}
		return absent
	}
}

func (b subject) try(fn func(context.Context) error) error { return b.run(context.Background(), fn) }

// trip opens the breaker and waits until it would probe.
func (b subject) trip() {
	b.open()
	time.Sleep(time.Second + time.Millisecond)
}

func (b subject) open() {
	for range 5 {
		_ = b.try(failed)
	}
}

// recovers reports whether calls that succeed are let through again and close the
// breaker, within twenty minutes.
func (b subject) recovers() bool {
	for range 10 {
		time.Sleep(2 * time.Minute)
		if b.try(ok) == nil && b.state() == closed {
			return true
		}
	}
	return false
}

// hang starts a call that returns what it is sent, or nil at the end of the test.
func (b subject) hang(t *testing.T) (result chan error) {
	result = make(chan error, 1)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	go func() {
		_ = b.try(func(context.Context) error {
			select {
			case err := <-result:
				return err
			case <-over:
				return nil
			}
		})
	}()
	synctest.Wait()
	return result
}

func unless(kept bool, format string, args ...any) string {
	if kept {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

const wedged = "every call was refused from then on, for twenty minutes"

var breakerRows = []row{
	{1, "a probe that panics gives its slot back", asks(setting{}, func(_ *testing.T, b subject) string {
		b.trip()
		func() {
			defer func() { _ = recover() }()
			_ = b.try(func(context.Context) error { panic("probe") })
		}()
		return unless(b.recovers(), wedged)
	})},
	{1, "a probe that calls Goexit gives its slot back", asks(setting{}, func(_ *testing.T, b subject) string {
		b.trip()
		go func() { _ = b.try(func(context.Context) error { runtime.Goexit(); return nil }) }()
		synctest.Wait()
		return unless(b.recovers(), wedged)
	})},
	{1, "a probe that its caller cancels gives its slot back", asks(setting{}, func(_ *testing.T, b subject) string {
		b.trip()
		ctx, cancel := context.WithCancel(context.Background())
		_ = b.run(ctx, func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() })
		return unless(b.recovers(), wedged)
	})},
	{1, "a probe that a bulkhead further in refuses gives its slot back", func(t *testing.T, column string) string {
		return bubble(t, func(*testing.T) string {
			b, there := newSubject(column, setting{consecutive: 5})
			if !there {
				return absent
			}
			var guarded func(context.Context) error
			switch column {
			case ours:
				full := bulkhead.New(bulkhead.Config{Limit: 1})
				pass, _ := full.Enter(context.Background())
				defer func() { _ = pass.Done(nil) }()
				guarded = func(ctx context.Context) error { return full.Run(ctx, ok) }
			case failsafeGo:
				full := failsafebulkhead.New[any](1)
				full.TryAcquirePermit()
				guarded = func(context.Context) error { return failsafe.With[any](full).Run(func() error { return nil }) }
			default:
				return absent + "it has no other policies"
			}
			b.trip()
			_ = b.try(guarded)
			return unless(b.recovers(), wedged)
		})
	}},
	{1, "a probe that never returns gives its slot back in the end", asks(setting{}, func(t *testing.T, b subject) string {
		b.trip()
		b.hang(t)
		return unless(b.recovers(), wedged)
	})},
	{1, "what a probe returns after it was given up changes nothing", asks(setting{}, func(t *testing.T, b subject) string {
		b.trip()
		result := b.hang(t)
		if !b.recovers() {
			return absent + "a probe is not given up"
		}
		result <- errCall
		synctest.Wait()
		return unless(b.state() == closed, "the breaker is %s after it", b.state())
	})},
	{2, "a panic is a failure", asks(setting{}, func(_ *testing.T, b subject) string {
		for range 5 {
			func() {
				defer func() { _ = recover() }()
				_ = b.try(func(context.Context) error { panic("call") })
			}()
		}
		return unless(b.state() == open, "five panics in a row leave it %s", b.state())
	})},
	{2, "a panic reaches the caller as it was", asks(setting{}, func(_ *testing.T, b subject) (observed string) {
		value := &struct{ int }{}
		defer func() {
			if got := recover(); got != any(value) {
				observed = fmt.Sprintf("the caller recovers %v", got)
			}
		}()
		_ = b.try(func(context.Context) error { panic(value) })
		return ""
	})},
	{3, "failures of calls admitted before an outage do not count after it", asks(setting{}, func(t *testing.T, b subject) string {
		var late []chan error
		for range 5 {
			late = append(late, b.hang(t))
		}
		b.trip()
		_ = b.try(ok)
		for _, l := range late {
			l <- errCall
		}
		synctest.Wait()
		return unless(b.state() == closed, "five late failures make it %s", b.state())
	})},
	{3, "a success of a call admitted before an outage does not end it", asks(setting{}, func(t *testing.T, b subject) string {
		late := b.hang(t)
		b.trip()
		b.hang(t) // the probe
		late <- nil
		synctest.Wait()
		return unless(b.state() == halfOpen, "a late success makes a half-open breaker %s", b.state())
	})},
	{3, "late failures do not lengthen the open time", asks(setting{}, func(t *testing.T, b subject) string {
		late := b.hang(t)
		b.open()
		time.Sleep(500 * time.Millisecond)
		late <- errCall
		time.Sleep(501 * time.Millisecond)
		return unless(b.try(ok) == nil, "it still refuses when the open time is over")
	})},
	{4, "of a thousand callers at the end of the open time, three probes run where three are meant to", asks(setting{probes: 3}, func(_ *testing.T, b subject) string {
		b.trip()
		var running atomic.Int64
		over := make(chan struct{})
		for range 1000 {
			go func() { _ = b.try(func(context.Context) error { running.Add(1); <-over; return nil }) }()
		}
		synctest.Wait()
		n := running.Load()
		close(over)
		synctest.Wait()
		return unless(n <= 3, "%d ran at a time", n)
	})},
	{5, "recovery takes as long however many calls were refused", asks(setting{}, func(_ *testing.T, b subject) string {
		b.open()
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			for range 100 {
				_ = b.try(failed)
			}
		}
		time.Sleep(2*time.Second + time.Millisecond)
		return unless(b.try(ok) == nil && b.state() == closed, "after 10,000 refusals it is %s", b.state())
	})},
	{6, "what the caller cancels is no failure", asks(setting{}, func(_ *testing.T, b subject) string {
		for range 20 {
			ctx, cancel := context.WithCancel(context.Background())
			_ = b.run(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() })
		}
		return unless(b.state() == closed, "callers that go away make it %s (which errors count can be configured)", b.state())
	})},
	{6, "a deadline that passes while the dependency hangs is a failure", asks(setting{}, func(_ *testing.T, b subject) string {
		for range 5 {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			_ = b.run(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
			cancel()
		}
		return unless(b.state() == open, "five of them leave it %s", b.state())
	})},
	{7, "failures that take longer than the window open it", asks(setting{ratio: 0.5, minCalls: 5, window: 10 * time.Second, openFor: time.Hour}, func(_ *testing.T, b subject) string {
		for range 3 {
			var calls sync.WaitGroup
			for range 10 {
				calls.Go(func() { _ = b.try(func(context.Context) error { time.Sleep(15 * time.Second); return errCall }) })
			}
			calls.Wait()
		}
		return unless(b.state() == open, "thirty calls, ten at a time, that all failed after 15 s, leave it %s with a window of 10 s", b.state())
	})},
	{7, "a burst of failures over the border of two windows is seen whole", asks(setting{ratio: 0.5, minCalls: 10, window: 10 * time.Second}, func(_ *testing.T, b subject) string {
		_ = b.try(ok)
		time.Sleep(9500 * time.Millisecond)
		b.open()
		time.Sleep(time.Second)
		b.open()
		return unless(b.state() == open, "ten failures within a second leave it %s", b.state())
	})},
	{7, "after an idle hour the counts read zero", asks(setting{ratio: 0.5, minCalls: 10, window: 10 * time.Second}, func(_ *testing.T, b subject) string {
		b.open()
		time.Sleep(time.Hour)
		return unless(b.count() == 0, "%d calls are read", b.count())
	})},
	{8, "one failure of one call does not open it", asks(setting{ratio: 0.5, minCalls: 20, window: 10 * time.Second}, func(_ *testing.T, b subject) string {
		_ = b.try(failed)
		return unless(b.state() == closed, "it is %s", b.state())
	})},
	{8, "five failures in a row open it at a call a minute", asks(setting{}, func(_ *testing.T, b subject) string {
		for range 5 {
			time.Sleep(time.Minute)
			_ = b.try(failed)
		}
		return unless(b.state() == open, "it is %s", b.state())
	})},
	{9, "calls that succeed slowly open it", only("it knows no slow calls", func(*testing.T) string {
		b := breaker.New(breaker.Config{SlowCall: 100 * time.Millisecond, SlowRatio: 0.5, MinCalls: 5})
		for range 10 {
			_ = b.Run(context.Background(), func(context.Context) error { time.Sleep(200 * time.Millisecond); return nil })
		}
		return unless(b.State() == breaker.Open, "ten slow calls leave it %s", b.State())
	})},
	{10, "each change is reported once and in order, also where a listener is slow", changes},
	{10, "the listener may ask for the state", listenerAsks},
	{10, "a listener that panics breaks nothing for others", func(t *testing.T, column string) string {
		if column != ours && column != failsafeGo && column != gobreakerV2 {
			return absent
		}
		// In a process of its own, which may not survive it.
		self := exec.CommandContext(t.Context(), os.Args[0])
		self.Env = append(os.Environ(), panickingListener+"="+column)
		out, err := self.CombinedOutput()
		if err != nil {
			line, _, _ := strings.Cut(string(out[bytes.Index(out, []byte("fatal error"))+1:]), "\n")
			return "the process dies of it: f" + strings.TrimSpace(line)
		}
		return string(out)
	}},
	{11, "the open time grows while probes fail, and is the first again after recovery", asks(setting{}, func(_ *testing.T, b subject) string {
		b.open()
		first := b.openTime(failed)
		for range 2 {
			b.openTime(failed)
		}
		fourth := b.openTime(ok)
		b.open()
		again := b.openTime(ok)
		return unless(fourth > 3*first && again < 2*first, "after one failed probe it is open for about %v, after the next ones for %v, after recovery for %v",
			first.Round(time.Second), fourth.Round(time.Second), again.Round(time.Second))
	})},
	{11, "the open time is jittered", jittered},
	{11, "after closing, a growing share of calls is admitted", only("it closes at once", func(*testing.T) string {
		b := breaker.New(breaker.Config{Consecutive: 5, OpenFor: time.Second, RampFor: 10 * time.Second})
		s := subject{run: b.Run}
		s.trip()
		share := func() (admitted int) {
			for range 1000 {
				if s.try(ok) == nil {
					admitted++
				}
			}
			return admitted
		}
		_ = s.try(ok)
		time.Sleep(time.Second)
		early := share()
		time.Sleep(5 * time.Second)
		later := share()
		time.Sleep(10 * time.Second)
		return unless(early < later && later < 1000 && share() == 1000, "%d, then %d of 1000", early, later)
	})},
	{12, "it can be held open, held closed, and made to observe only", only("there is no switch that holds", func(*testing.T) string {
		b := breaker.New(breaker.Config{Consecutive: 5, OpenFor: time.Second})
		s := subject{run: b.Run}
		b.ForceOpen()
		time.Sleep(time.Hour)
		if s.try(ok) == nil {
			return "forced open, it admits"
		}
		b.ForceClosed()
		s.open()
		if s.try(ok) != nil {
			return "forced closed, it refuses"
		}
		observing := breaker.New(breaker.Config{Consecutive: 5, Observe: true})
		o := subject{run: observing.Run}
		o.open()
		if o.try(ok) != nil {
			return "observing, it refuses"
		}
		return unless(observing.Stats().Observed == 1, "observing, it reports nothing")
	})},
}

// panickingListener is the variable that makes TestMain ask a library what a listener
// that panics does to it.
const panickingListener = "CONFORMANCE_PANICKING_LISTENER"

func TestMain(m *testing.M) {
	column := os.Getenv(panickingListener)
	if column == "" {
		os.Exit(m.Run())
	}
	b, _ := newSubject(column, setting{consecutive: 5, openFor: time.Hour, onChange: func(string, string) { panic("listener") }})
	for range 5 {
		func() {
			defer func() { _ = recover() }()
			_ = b.try(failed)
		}()
	}
	if b.state() != open || b.try(ok) == nil {
		fmt.Printf("it is %s", b.state())
	}
}

// openTime waits until a call is admitted, which is fn, and returns how long it took.
func (b subject) openTime(fn func(context.Context) error) time.Duration {
	start := time.Now()
	for admitted := false; !admitted; {
		time.Sleep(time.Millisecond)
		_ = b.try(func(ctx context.Context) error { admitted = true; return fn(ctx) })
	}
	return time.Since(start)
}

// jittered looks whether eight breakers that open together probe at one instant.
func jittered(t *testing.T, column string) string {
	return bubble(t, func(*testing.T) string {
		var times []time.Duration
		for range 8 {
			b, there := newSubject(column, setting{consecutive: 5, jitter: true})
			if !there {
				return absent
			}
			b.open()
			times = append(times, b.openTime(ok))
		}
		slices.Sort(times)
		return unless(len(slices.Compact(times)) > 1, "eight breakers that open together probe together")
	})
}

// changes opens a breaker whose listener is busy with that until the breaker has probed
// and closed. It does so in real time: a library may call the listener under its lock, and
// then nothing goes on before the listener, after five seconds, no longer waits.
func changes(_ *testing.T, column string) string {
	const opens = 10 * time.Millisecond
	var told []string // in the order in which the listener returns
	var mu sync.Mutex
	var first atomic.Bool
	listening, recovered := make(chan struct{}), make(chan struct{})
	b, there := newSubject(column, setting{consecutive: 5, openFor: opens, onChange: func(from, to string) {
		if !first.Swap(true) {
			close(listening)
			select {
			case <-recovered:
			case <-time.After(5 * time.Second):
			}
		}
		mu.Lock()
		defer mu.Unlock()
		told = append(told, from, to)
	}})
	if !there {
		return absent
	}
	var calls sync.WaitGroup
	calls.Go(b.open)
	<-listening
	for closes := time.Now().Add(time.Minute); b.try(ok) != nil || b.state() != closed; time.Sleep(opens) {
		if time.Now().After(closes) {
			return "it does not close while the listener is busy"
		}
	}
	close(recovered)
	calls.Wait()
	mu.Lock()
	defer mu.Unlock()
	return unless(slices.Equal(told, []string{closed, open, open, halfOpen, halfOpen, closed}), "the changes are reported as %s", strings.Join(told, ", "))
}

// listenerAsks has, in real time and for some seconds only, a listener ask for the
// state.
func listenerAsks(t *testing.T, column string) string {
	var b subject
	var told atomic.Bool
	b, there := newSubject(column, setting{consecutive: 5, openFor: time.Hour, onChange: func(string, string) {
		_ = b.state()
		told.Store(true)
	}})
	if !there {
		return absent
	}
	opened := make(chan struct{})
	go func() { b.open(); close(opened) }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	select {
	case <-opened:
		return unless(told.Load(), "the listener was not called")
	case <-ctx.Done():
		return "it deadlocks"
	}
}

package scene

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A Stage is where a program runs: its clock, its servers, its database, its load.
type Stage struct {
	Guarded bool          // whether the program is to guard itself
	Length  time.Duration // for how long there is load

	options Options
	ctx     context.Context // ends with the run
	end     context.CancelFunc
	start   time.Time     // set before started is closed
	started chan struct{} // closed when the load begins

	running running
	mu      sync.Mutex
	closers []func() error // in the order in which they were made
}

func newStage(ctx context.Context, o Options, guarded bool) *Stage {
	s := &Stage{Guarded: guarded, Length: o.Length, options: o, started: make(chan struct{})}
	s.ctx, s.end = context.WithCancel(ctx)
	return s
}

func (s *Stage) side() string {
	if s.Guarded {
		return Guarded
	}
	return Unguarded
}

// Context ends with the run. It is for what runs in the background; a request has
// its own.
func (s *Stage) Context() context.Context { return s.ctx }

// Now is the time since the load began, 0 before.
func (s *Stage) Now() time.Duration {
	select {
	case <-s.started:
		return max(time.Since(s.start), 0)
	default:
		return 0
	}
}

// At is the instant at which a share of the run's length has passed.
func (s *Stage) At(share float64) time.Duration {
	return time.Duration(share * float64(s.Length))
}

// During reports whether it is now between two shares of the run's length.
func (s *Stage) During(from, to float64) bool {
	now := s.Now()
	return now >= s.At(from) && now < s.At(to)
}

// Until waits until a share of the run's length has passed. It returns false where
// the run ended before.
func (s *Stage) Until(share float64) bool {
	select {
	case <-s.started:
	case <-s.ctx.Done():
		return false
	}
	return s.Pause(time.Until(s.start.Add(s.At(share))))
}

// Pause waits. It returns false where the run ended before.
func (s *Stage) Pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// Go runs f in the background. The run ends when f has returned; f is to look at
// Context, or at what Until and Pause return.
func (s *Stage) Go(f func()) {
	if s.running.begin() {
		go func() {
			defer s.running.done()
			f()
		}()
	}
}

// Watch reads a gauge some hundred times in the run, for the plot. The function
// that it returns is to be called when the load has ended.
func (s *Stage) Watch(gauge func() float64) (series func() []Point) {
	var points []Point
	stop, stopped := make(chan struct{}), make(chan struct{})
	s.Go(func() {
		defer close(stopped)
		if !s.Until(0) {
			return
		}
		tick := time.NewTicker(max(s.Length/100, time.Millisecond))
		defer tick.Stop()
		for {
			points = append(points, Point{At: s.Now(), Value: gauge()})
			select {
			case <-tick.C:
			case <-stop:
				return
			case <-s.ctx.Done():
				return
			}
		}
	})
	return sync.OnceValue(func() []Point {
		close(stop)
		<-stopped
		return points
	})
}

// onClose has f called at the end of the run: the last one first, after all
// servers and goroutines have ended.
func (s *Stage) onClose(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, f)
}

// close ends the run: what runs in the background, the servers with what they
// serve, the database.
func (s *Stage) close() error {
	s.end()
	s.running.stop()
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
	var first error
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i](); first == nil {
			first = err
		}
	}
	return first
}

// progress prints a line.
func (s *Stage) progress(format string, args ...any) {
	w := s.options.Progress
	if w == nil {
		w = io.Discard
	}
	fmt.Fprintf(w, "  %-9s  %s\n", s.side(), fmt.Sprintf(format, args...))
}

// running is what runs: goroutines and handlers, and servers to be closed before
// these can be waited for.
type running struct {
	mu      sync.Mutex
	stopped bool
	stops   []func()
	group   sync.WaitGroup
}

// begin counts something that runs until done. It returns false where nothing is
// to begin any more.
func (r *running) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.group.Add(1)
	}
	return !r.stopped
}

func (r *running) done() { r.group.Done() }

// onStop has f called before what runs is waited for, at once where that is so
// already.
func (r *running) onStop(f func()) {
	r.mu.Lock()
	if !r.stopped {
		r.stops = append(r.stops, f)
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	f()
}

// stop ends what runs, and waits for it.
func (r *running) stop() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	for _, f := range r.stops {
		f()
	}
	r.group.Wait()
}

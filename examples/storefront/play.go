package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/crumplezone/stability/points"
)

// A result is what was measured in one run. Instants are times since its start.
type result struct {
	name    string
	answers []answer
	calls   []call   // that arrived at recommendations
	changes []change // of the breaker before recommendations
	samples []sample
	lag     time.Duration // the latest that a page was asked for after its instant
	points  []points.Point
	ended   time.Duration

	// When recommendations began to hang and when they came back; 0 where the
	// run was interrupted before.
	hungAt, backAt time.Duration
}

// A sample is what the process held at an instant.
type sample struct {
	at         time.Duration
	goroutines uint64
	memory     uint64 // bytes of heap objects and of stacks
	pages      int64  // in the storefront: worked on, or waiting for a worker
}

const (
	sampleEvery   = 100 * time.Millisecond
	progressEvery = time.Second
)

// play plays the scenario once and writes its progress to w every second. When
// it returns, all that it started has ended. The end of ctx cuts the run short
// and is no error.
func play(ctx context.Context, o options, sd side, m *meters, w io.Writer) (result, error) {
	debug.FreeOSMemory() // What an earlier run left behind is not this one's.
	c := clock{start: time.Now().Add(sampleEvery)}
	st, err := setStage(o, sd, m.provider, c)
	if err != nil {
		return result{}, err
	}
	defer st.clear()

	l := &load{
		url: st.front.url, patience: o.patience, within: o.within, clock: c,
		ended: func(ctx context.Context, a answer) { m.record(ctx, sd.name, a, o.within) },
	}
	r := result{name: sd.name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.answers = l.run(ctx, schedule(o))
	}()

	fmt.Fprintf(w, "\n%s\n", sd.name)
	sick := st.upstreams[recommendations]
	turn := time.NewTimer(time.Until(c.at(o.healthy)))
	defer turn.Stop()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	line := progress{load: l, next: progressEvery}
	for running := true; running; {
		select {
		case <-turn.C:
			if r.hungAt == 0 {
				sick.hang()
				r.hungAt = c.now()
				turn.Reset(time.Until(c.at(o.healthy + o.hang)))
			} else {
				r.backAt = c.now()
				sick.recover()
			}
		case <-tick.C:
			s := takeSample(c, st.shop)
			r.samples = append(r.samples, s)
			line.print(w, s, sick.isHung())
		case <-done:
			running = false
		}
	}
	r.ended = c.now()
	r.lag = l.lag
	r.calls = sick.arrivals()
	r.changes = st.breakerChanges()
	r.points = points.List() // while its policies are there
	return r, nil
}

func takeSample(c clock, s *shop) sample {
	read := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(read)
	return sample{
		at:         c.now(),
		goroutines: read[0].Value.Uint64(),
		memory:     read[1].Value.Uint64() + read[2].Value.Uint64(),
		pages:      s.pages.Load(),
	}
}

// A progress prints a line for every second of a run.
type progress struct {
	load        *load
	next        time.Duration
	asked, good int64 // up to the line before
}

func (p *progress) print(w io.Writer, s sample, hung bool) {
	if s.at < p.next {
		return
	}
	p.next = s.at.Truncate(progressEvery) + progressEvery
	asked, good := p.load.asked.Load(), p.load.good.Load()
	state := "well"
	if hung {
		state = "HANGS"
	}
	fmt.Fprintf(w, "  %3.0fs  recommendations %-5s  pages asked for %4d  good %4d  waiting %5d   goroutines %5d  memory %s\n",
		s.at.Seconds(), state, asked-p.asked, good-p.good, p.load.open.Load(), s.goroutines, megabytes(s.memory))
	p.asked, p.good = asked, good
}

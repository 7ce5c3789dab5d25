package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A visit is a page that a shopper wants at an instant of the run.
type visit struct {
	at   time.Duration
	page *page
}

// An answer is what a visit came to.
type answer struct {
	visit
	took     time.Duration // from when the page was wanted to its last byte, or to when the shopper gave up
	status   int           // 0: none came
	degraded bool          // the page came without recommendations
	cut      bool          // the run was interrupted first: it says nothing
}

// good reports whether the page came whole and in time. One that does without
// recommendations is good.
func (a answer) good(within time.Duration) bool {
	return a.status == http.StatusOK && a.took <= within
}

// schedule draws the visits of a run: instants of a Poisson process, pages by
// their shares. The same options give the same visits.
func schedule(o options) []visit {
	rnd := rand.New(rand.NewPCG(o.seed, 0))
	var visits []visit
	at := 0.0
	for {
		at += rnd.ExpFloat64() / o.rate
		t := time.Duration(at * float64(time.Second))
		if t >= o.length() {
			return visits
		}
		visits = append(visits, visit{at: t, page: drawPage(rnd)})
	}
}

func drawPage(rnd *rand.Rand) *page {
	n := rnd.IntN(100)
	for i := range pages {
		if n -= pages[i].share; n < 0 {
			return &pages[i]
		}
	}
	panic("storefront: the shares of the pages do not add up to 100")
}

// A load is the shoppers: it asks for pages at their instants, whether or not
// the pages before have come.
type load struct {
	url      string
	patience time.Duration
	within   time.Duration
	clock    clock
	ended    func(context.Context, answer)

	asked, good, open atomic.Int64 // so far, so far, now
	lag               time.Duration
}

// run makes the visits and returns their answers once all have ended. It ends
// early with ctx.
func (l *load) run(ctx context.Context, visits []visit) []answer {
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}

	answers := make([]answer, 0, len(visits))
	var mu sync.Mutex
	var wg sync.WaitGroup
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, v := range visits {
		timer.Reset(time.Until(l.clock.at(v.at)))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		l.lag = max(l.lag, l.clock.now()-v.at)
		l.asked.Add(1)
		l.open.Add(1)
		wg.Go(func() {
			a := l.visit(ctx, client, v)
			l.open.Add(-1)
			if a.cut {
				return
			}
			if a.good(l.within) {
				l.good.Add(1)
			}
			l.ended(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, a)
		})
	}
	wg.Wait()
	return answers
}

func (l *load) visit(ctx context.Context, client *http.Client, v visit) answer {
	waits, cancel := context.WithDeadline(ctx, l.clock.at(v.at+l.patience))
	defer cancel()
	a := answer{visit: v}
	a.status, a.degraded = get(waits, client, l.url+v.page.path)
	a.took = l.clock.now() - v.at
	a.cut = a.status == 0 && ctx.Err() != nil
	return a
}

// get reads a page to its end. The status is 0 when the page did not come whole.
func get(ctx context.Context, client *http.Client, url string) (status int, degraded bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, false
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, false
	}
	return resp.StatusCode, resp.Header.Get(degradedHeader) != ""
}

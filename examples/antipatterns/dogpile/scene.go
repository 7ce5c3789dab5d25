// Package dogpile shows what happens when a value that everybody wants runs out in
// a cache.
package dogpile

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/flight"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "dogpile",
	Title:   "Dogpile",
	Story:   "Each page shows the bestsellers, which take a while to compute and are kept for a second. When they run out, everybody who comes before they are there again computes them too.",
	Guard:   "one flight for all who ask for the same",
	Want:    scene.Requirement{Text: "computations of the bestsellers each time that they have run out", AtMost: 2},
	Plot:    scene.Plot{Title: "Computations under way"},
	Program: program,
}

const (
	keepFor = time.Second
	compute = 100 * time.Millisecond // beside the query
	rate    = 150
)

// A shop has bestsellers, and a cache for them.
type shop struct {
	db       *sql.DB
	flights  *flight.Flights[string] // nil lets everybody compute
	running  scene.Gauge
	computed atomic.Int64

	mu      sync.Mutex
	value   string
	until   time.Time
	missing bool // since until, noticed by somebody
	ranOut  int  // how often
}

func program(s *scene.Stage) (m scene.Measured, err error) {
	p := &shop{}
	p.db, err = s.DB(8,
		"CREATE TABLE sales (product INTEGER NOT NULL, pieces INTEGER NOT NULL)",
		`INSERT INTO sales WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
		 SELECT i * 7919 % 97, i % 5 FROM n`)
	if err != nil {
		return m, err
	}
	if s.Guarded {
		p.flights = guard()
	}
	pages, err := s.Serve(p)
	if err != nil {
		return m, err
	}

	running := s.Watch(p.running.Now)
	visitors := s.Visitors()
	answers := s.Play(scene.Load{Rate: rate, Patience: 3 * time.Second, Visit: func(ctx context.Context, _ int) error {
		_, err := scene.Fetch(ctx, visitors, pages.URL)
		return err
	}})[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	m.Figure = float64(p.computed.Load()) / float64(p.ranOut)
	m.Series = running()
	m.Note("computations: %d, the bestsellers having run out %d times", p.computed.Load(), p.ranOut)
	m.Note("pages answered: %v", answers)
	return m, nil
}

// guard makes one call for all who ask for the same while it runs. When it fails
// the bestsellers of the last minute are as good.
func guard() *flight.Flights[string] {
	return flight.New[string](flight.Config{Name: "bestsellers", StaleIfError: time.Minute})
}

func (p *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	bestsellers, ok := p.cached()
	if !ok {
		var err error
		bestsellers, _, err = p.flights.Do(r.Context(), "bestsellers", p.compute)
		if err != nil {
			stabilityhttp.ErrorHandler(w, r, err)
			return
		}
	}
	fmt.Fprintln(w, "Others bought:", bestsellers)
}

func (p *shop) cached() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := time.Now().Before(p.until)
	if !fresh && !p.missing {
		p.missing = true
		p.ranOut++
	}
	return p.value, fresh
}

// compute asks the database, formats what it says at some length, and puts it into
// the cache.
func (p *shop) compute(ctx context.Context) (string, error) {
	p.computed.Add(1)
	p.running.Add(1)
	defer p.running.Add(-1)
	var product, pieces int
	err := p.db.QueryRowContext(ctx,
		"SELECT product, SUM(pieces) AS sold FROM sales GROUP BY product ORDER BY sold DESC, product LIMIT 1").Scan(&product, &pieces)
	if err != nil {
		return "", err
	}
	time.Sleep(compute)
	value := fmt.Sprintf("product %d, %d times", product, pieces)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value, p.until, p.missing = value, time.Now().Add(keepFor), false
	return value, nil
}

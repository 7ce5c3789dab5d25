// Package blockedthreads shows goroutines that wait for a connection of a pool,
// with no limit to how long and to how many they are.
package blockedthreads

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/timeout"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "blockedthreads",
	Title:   "Blocked threads",
	Story:   "Each page reads a row. For most of the run a report holds all connections of the database's pool, and the goroutines of the pages wait for one, also those whose visitors have left.",
	Guard:   "a bulkhead around the query, and a timeout inside it",
	Want:    scene.Requirement{Text: "goroutines waiting for the database at the same time", AtMost: 80},
	Plot:    scene.Plot{Title: "Goroutines waiting for the database", Bound: true},
	Program: program,
}

// The report runs between these shares of the run.
const reportFrom, reportTo = 0.25, 0.9

const connections = 4

func program(s *scene.Stage) (m scene.Measured, err error) {
	db, err := s.DB(connections,
		"CREATE TABLE lamps (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
		"INSERT INTO lamps VALUES (1, 'Anglepoise')")
	if err != nil {
		return m, err
	}
	var guards stability.Policy // nil calls unguarded
	if s.Guarded {
		guards = guard()
	}
	var blocked scene.Gauge
	pages, err := s.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		blocked.Add(1)
		defer blocked.Add(-1)
		name, err := lamp(s, r, db, guards)
		if err != nil {
			http.Error(w, "We are busy. Please come back.", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(name) // It fails when the visitor has left.
	}))
	if err != nil {
		return m, err
	}
	for range connections {
		s.Go(func() { report(s, db) })
	}

	waiting := s.Watch(blocked.Now)
	visitors := s.Visitors()
	answers := s.Play(scene.Load{Rate: 100, Visit: func(ctx context.Context, _ int) error {
		_, err := scene.Fetch(ctx, visitors, pages.URL)
		return err
	}})[0]
	m.Figure = blocked.Peak()
	m.Series = waiting()
	m.Note("pages answered outside of the report's time: %d of %d",
		answers.Good()-answers.Between(s.At(reportFrom), s.At(reportTo)).Good(),
		len(answers)-len(answers.Between(s.At(reportFrom), s.At(reportTo))))
	return m, nil
}

// lamp reads a row. The unguarded one has a context that ends with the process at
// best, as code has that was written before contexts, or around them.
func lamp(s *scene.Stage, r *http.Request, db *sql.DB, guards stability.Policy) (string, error) {
	if guards == nil {
		return query(s.Context(), db)
	}
	return stability.Do(r.Context(), guards, func(ctx context.Context) (string, error) { return query(ctx, db) })
}

// guard lets eight queries run and eight more wait, and gives each a tenth of a
// second, of which waiting for a connection is a part.
func guard() stability.Policy {
	return stability.Chain(
		bulkhead.New(bulkhead.Config{Name: "lamps", Limit: 8, Queue: 8, MaxWait: 100 * time.Millisecond}),
		timeout.New(timeout.Config{Name: "lamps", After: 100 * time.Millisecond}),
	)
}

func query(ctx context.Context, db *sql.DB) (name string, err error) {
	err = db.QueryRowContext(ctx, "SELECT name FROM lamps WHERE id = $1", 1).Scan(&name)
	return name, err
}

// report holds a connection while it works on what it has read.
func report(s *scene.Stage, db *sql.DB) {
	if !s.Until(reportFrom) {
		return
	}
	conn, err := db.Conn(s.Context())
	if err != nil {
		return
	}
	defer conn.Close()
	s.Until(reportTo)
}

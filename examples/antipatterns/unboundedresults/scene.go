// Package unboundedresults shows a query that returns what there is, and what
// there is growing.
package unboundedresults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"

	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "unboundedresults",
	Title:   "Unbounded result sets",
	Story:   "A page lists a customer's messages. In the test he has ten. In production a partner's program writes to him all day long, and the page reads all that he ever got, for each visit.",
	Guard:   "a limit in the query, and a guard on the rows that does not rely on it",
	Want:    scene.Requirement{Text: "rows that one page holds in memory", AtMost: 500},
	Plot:    scene.Plot{Title: "Rows that the last page held in memory", Bound: true},
	Program: program,
}

const (
	pageSize = 100
	batch    = 500 // messages that the partner writes at once
	batches  = 20  // in a run
)

func program(s *scene.Stage) (m scene.Measured, err error) {
	db, err := s.DB(4,
		"CREATE TABLE messages (id BIGINT PRIMARY KEY, body TEXT NOT NULL)",
		"INSERT INTO messages VALUES (0, 'Welcome.')")
	if err != nil {
		return m, err
	}
	list := everything
	if s.Guarded {
		list = onePage
	}
	var last, all scene.Gauge
	pages, err := s.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		messages, err := list(r.Context(), db)
		last.Set(len(messages))
		all.Add(len(messages))
		if err != nil {
			stabilityhttp.ErrorHandler(w, r, err)
			return
		}
		for _, message := range messages {
			fmt.Fprintln(w, message)
		}
	}))
	if err != nil {
		return m, err
	}
	s.Go(func() { partner(s, db) })

	rows := s.Watch(last.Now)
	visitors := s.Visitors()
	answers := s.Play(scene.Load{Rate: 10, Visit: func(ctx context.Context, _ int) error {
		_, err := scene.Fetch(ctx, visitors, pages.URL)
		return err
	}})[0]
	m.Figure = last.Peak()
	m.Series = rows()
	m.Note("rows read for %d pages: %.0f", len(answers), all.Now())
	return m, nil
}

// everything reads all messages that there are.
func everything(ctx context.Context, db *sql.DB) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT body FROM messages ORDER BY id DESC")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var messages []string
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		messages = append(messages, body)
	}
	return messages, rows.Err()
}

// onePage reads the latest of them.
func onePage(ctx context.Context, db *sql.DB) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT body FROM messages ORDER BY id DESC LIMIT $1", pageSize)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return atMost(pageSize, rows, func() (body string, err error) {
		err = rows.Scan(&body)
		return body, err
	})
}

var errTooMany = errors.New("more rows than were asked for")

// atMost reads up to limit rows, and fails where there are more, whatever the query
// that somebody changed last week says.
func atMost[T any](limit int, rows *sql.Rows, scan func() (T, error)) ([]T, error) {
	var read []T
	for rows.Next() {
		if len(read) == limit {
			return nil, fmt.Errorf("%w: %d", errTooMany, limit)
		}
		row, err := scan()
		if err != nil {
			return nil, err
		}
		read = append(read, row)
	}
	return read, rows.Err()
}

// partner writes messages for as long as it is let.
func partner(s *scene.Stage, db *sql.DB) {
	for i := range batches {
		if !s.Until(float64(i) / batches) {
			return
		}
		if _, err := db.ExecContext(s.Context(), write, 1+i*batch, batch+i*batch); err != nil {
			return // The run is over.
		}
	}
}

// write makes the messages with the ids from the first to the second argument.
const write = `INSERT INTO messages
	WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < CAST($2 AS BIGINT))
	SELECT i, 'Lamps are in stock again, and cheaper than yesterday.' FROM n`

// Package selfdenial shows a promotion that works so well that nobody can buy.
package selfdenial

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"time"

	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "selfdenial",
	Title:   "Self-denial attacks",
	Story:   "A shop sells at a steady pace. Then marketing mails a voucher to everybody, and all come at once. Printing one holds a connection to the database for a while, and checkouts need one too.",
	Guard:   "a bulkhead around the promotion, smaller than what it shares",
	Want:    scene.Requirement{Text: "checkouts done within a second during the promotion", Unit: "%", AtLeast: 90},
	Plot:    scene.Plot{Title: "Checkouts done within a second", Unit: "%", Bound: true},
	Program: program,
}

const (
	connections = 4
	printing    = 40 * time.Millisecond // so that all connections together print a hundred vouchers a second
	crowd       = 300                   // people a second who want one
	promoFrom   = 0.25
)

func program(s *scene.Stage) (m scene.Measured, err error) {
	db, err := s.DB(connections,
		"CREATE TABLE vouchers (id INTEGER PRIMARY KEY, remaining INTEGER NOT NULL)",
		"INSERT INTO vouchers VALUES (1, 1000000)",
		"CREATE TABLE orders (customer INTEGER NOT NULL)")
	if err != nil {
		return m, err
	}
	var promotion *bulkhead.Bulkhead // nil runs unguarded
	if s.Guarded {
		promotion = guard()
	}
	pages := http.NewServeMux()
	pages.HandleFunc("/voucher", func(w http.ResponseWriter, r *http.Request) {
		answer(w, promotion.Run(r.Context(), func(ctx context.Context) error { return voucher(ctx, db) }))
	})
	pages.HandleFunc("/checkout", func(w http.ResponseWriter, r *http.Request) {
		_, err := db.ExecContext(r.Context(), "INSERT INTO orders VALUES ($1)", 1)
		answer(w, err)
	})
	shop, err := s.Serve(pages)
	if err != nil {
		return m, err
	}

	visitors := s.Visitors()
	visit := func(path string) func(context.Context, int) error {
		return func(ctx context.Context, _ int) error {
			_, err := scene.Fetch(ctx, visitors, shop.URL+path)
			return err
		}
	}
	answers := s.Play(
		scene.Load{Rate: 25, Visit: visit("/checkout")},
		scene.Load{Rate: crowd, From: promoFrom, Patience: 3 * time.Second, Visit: visit("/voucher")})
	during := answers[0].Between(s.At(promoFrom), s.Length)
	m.Figure = during.Percent()
	m.Series = s.PercentSeries(answers[0])
	m.Note("checkouts done during the promotion: %v", during)
	m.Note("vouchers printed: %v", answers[1])
	return m, nil
}

// guard leaves the promotion two of the four connections. Who finds both in use is
// asked to come back.
func guard() *bulkhead.Bulkhead {
	return bulkhead.New(bulkhead.Config{Name: "promotion", Limit: 2})
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "Everybody is here. Please come back in a minute.", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "Here you are.")
}

// voucher prints a voucher, with its connection in hand all the while.
func voucher(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	time.Sleep(printing)
	_, err = conn.ExecContext(ctx, "UPDATE vouchers SET remaining = remaining - 1 WHERE id = $1", 1)
	return err
}

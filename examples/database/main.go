// Database guards the queries of a pool of database/sql: with a bulkhead of the
// pool's size, a breaker and a timeout. It asks a SQLite database for prices, then
// lets fifty callers at once run a report that does not end, then asks for prices
// again.
//
//	go run ./examples/database
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/timeout"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "database:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	dir, err := os.MkdirTemp("", "database")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(dir, "shop.db")))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, `CREATE TABLE prices (product TEXT PRIMARY KEY, cents INTEGER);
		INSERT INTO prices VALUES ('umbrella', 1999), ('kettle', 3450)`); err != nil {
		return err
	}
	s := newStore(db)
	fmt.Fprintf(w, "A pool of %d connections.\n\n%-34s %8s %9s %8s %10s\n", poolSize, "", "answered", "timed out", "refused", "longest")

	price := func(ctx context.Context) error { _, err := s.price(ctx, "umbrella"); return err }
	if n := show(w, "prices, 4 callers at a time", together(ctx, 4, price)); n.answered != 4 {
		return fmt.Errorf("%d of 4 prices", n.answered)
	}
	// That there is no such product is an answer, and no failure of the database.
	for range 10 {
		if _, err := s.price(ctx, "unicorn"); !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("the price of a unicorn: %w", err)
		}
	}

	reports := show(w, "a report without end, 50 callers", together(ctx, 50, s.report))
	if reports.timedOut == 0 || reports.refused == 0 || s.breaker.State() != breaker.Open {
		return fmt.Errorf("%+v, and the breaker is %v", reports, s.breaker.State())
	}
	if n := show(w, "prices while the breaker is open", together(ctx, 4, price)); n.refused != 4 {
		return fmt.Errorf("%d of 4 were refused", n.refused)
	}
	time.Sleep(openFor)
	if err := price(ctx); err != nil { // the probe
		return err
	}
	if n := show(w, "prices after its probe", together(ctx, 4, price)); n.answered != 4 {
		return fmt.Errorf("%d of 4 prices", n.answered)
	}
	fmt.Fprintf(w, "\nCallers who waited in database/sql, where the queue has no end: %d\n", db.Stats().WaitCount)
	return nil
}

// A count is how calls ended, and how long the longest took.
type count struct {
	answered, timedOut, refused, failed int
	longest                             time.Duration
}

// together makes n calls at the same time.
func together(ctx context.Context, n int, fn func(context.Context) error) (c count) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			began := time.Now()
			err := fn(ctx)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			c.longest = max(c.longest, took)
			switch {
			case err == nil:
				c.answered++
			case stability.Rejected(err):
				c.refused++
			case errors.Is(err, timeout.ErrExceeded):
				c.timedOut++
			default:
				c.failed++
			}
		})
	}
	group.Wait()
	return c
}

func show(w io.Writer, what string, c count) count {
	fmt.Fprintf(w, "%-34s %8d %9d %8d %10v\n", what, c.answered, c.timedOut, c.refused, c.longest.Round(100*time.Microsecond))
	return c
}

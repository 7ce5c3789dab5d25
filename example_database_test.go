package stability_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/timeout"
)

// A call of a database. The pool of database/sql bounds how many queries run, and not
// how many callers wait for a connection, nor for how long: a bulkhead of its size
// does. A row that does not exist is an answer, which the breaker must be told.
func ExampleDo_database() {
	const connections = 10
	db := sql.OpenDB(productsDB{}) // sql.Open("pgx", "postgres://…")
	defer db.Close()
	db.SetMaxOpenConns(connections)

	products := stability.Chain(
		bulkhead.New(bulkhead.Config{Name: "products", Limit: connections, Queue: connections, MaxWait: 100 * time.Millisecond}),
		breaker.New(breaker.Config{Name: "products", Classify: func(ctx context.Context, err error) stability.Outcome {
			if errors.Is(err, sql.ErrNoRows) {
				return stability.Success
			}
			return stability.Classify(ctx, err)
		}}),
		timeout.New(timeout.Config{Name: "products", After: time.Second}),
	)

	for id := range 2 {
		name, err := stability.Do(context.Background(), products, func(ctx context.Context) (name string, err error) {
			err = db.QueryRowContext(ctx, "SELECT name FROM products WHERE id = $1", id).Scan(&name)
			return name, err
		})
		fmt.Printf("%q %v\n", name, err)
	}
	// Output:
	// "umbrella" <nil>
	// "" sql: no rows in result set
}

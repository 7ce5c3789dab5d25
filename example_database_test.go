package stability_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/timeout"
)

// A call of a database. The pool of database/sql bounds how many queries run, and not
// how many callers wait for a connection, nor for how long: a bulkhead of its size
// does. A row that does not exist is an answer, and so is a duplicate key: the breaker must
// be told, or callers with bad data open it for all others.
func ExampleDo_database() {
	const connections = 10
	db := sql.OpenDB(productsDB{}) // sql.Open("pgx", "postgres://…")
	defer db.Close()
	db.SetMaxOpenConns(connections)

	callersFault := regexp.MustCompile("^(22|23|42)") // SQLSTATE: bad values, broken constraints, bad statements
	products := stability.Chain(
		bulkhead.New(bulkhead.Config{Name: "products", Limit: connections, Queue: connections, MaxWait: 100 * time.Millisecond}),
		breaker.New(breaker.Config{Name: "products", Classify: func(ctx context.Context, err error) stability.Outcome {
			var told interface{ SQLState() string } // by pgx, lib/pq
			if errors.Is(err, sql.ErrNoRows) || errors.As(err, &told) && callersFault.MatchString(told.SQLState()) {
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
	// Thirty callers who insert what is there already: the breaker stays closed.
	for range 30 {
		err := products.Run(context.Background(), func(ctx context.Context) error {
			_, err := db.ExecContext(ctx, "INSERT INTO products (id, name) VALUES (0, 'parasol')")
			return err
		})
		if stability.Rejected(err) {
			fmt.Println(err)
		}
	}
	// Output:
	// "umbrella" <nil>
	// "" sql: no rows in result set
}

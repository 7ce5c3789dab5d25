package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/timeout"
)

const (
	poolSize = 4
	// How long the breaker leaves the database alone. It is short so that the program is.
	openFor = 500 * time.Millisecond
)

// A store asks a database. Where all connections of the pool are in use, database/sql
// lets any number of callers wait for as long as their contexts last. The bulkhead has
// a permit for each connection and bounds who waits, and for how long.
type store struct {
	db      *sql.DB
	breaker *breaker.Breaker
	guard   stability.Policy
}

func newStore(db *sql.DB) *store {
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	s := &store{db: db, breaker: breaker.New(breaker.Config{
		Name:        "shop db",
		Consecutive: poolSize,
		OpenFor:     openFor,
		Classify:    classify,
	})}
	s.guard = stability.Chain(
		bulkhead.New(bulkhead.Config{Name: "shop db", Limit: poolSize, Queue: 2 * poolSize, MaxWait: 50 * time.Millisecond}),
		s.breaker,
		timeout.New(timeout.Config{Name: "shop db", After: time.Second}),
	)
	return s
}

// classify knows that a row which does not exist is an answer.
func classify(ctx context.Context, err error) stability.Outcome {
	if errors.Is(err, sql.ErrNoRows) {
		return stability.Success
	}
	return stability.Classify(ctx, err)
}

func (s *store) price(ctx context.Context, product string) (int, error) {
	return stability.Do(ctx, s.guard, func(ctx context.Context) (cents int, err error) {
		err = s.db.QueryRowContext(ctx, `SELECT cents FROM prices WHERE product = ?`, product).Scan(&cents)
		return cents, err
	})
}

// report is a query that forgot where to stop.
func (s *store) report(ctx context.Context) error {
	return s.guard.Run(ctx, func(ctx context.Context) error {
		var n int
		return s.db.QueryRowContext(ctx,
			`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n`).Scan(&n)
	})
}

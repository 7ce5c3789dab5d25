package results

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/timeout"
)

// Five tiers that try three times each, above a database that is down, and what is
// left of the 243 queries when tiers tell one another more, or spend less.
func TestTiers(t *testing.T) {
	t.Parallel()
	s := newSection(8, "243 queries for one call")
	s.source(`Brooker, [Timeouts, retries, and backoff with
		jitter](https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/), Amazon Builders' Library, 2019.`)

	rows := [][]string{{"tiers", "published", "failing", "hanging"}}
	for _, v := range []struct {
		name             string
		published        string
		tiers            tiers
		failing, hanging bounds
	}{
		{"three tries in each", "243", tiers{}, bounds{243, 243}, bounds{243, 243}},
		{"and the deadline goes along", "–", tiers{deadline: true}, bounds{243, 243}, bounds{3, 3}},
		{"and a budget of 20 % in each", "–", tiers{budget: true}, bounds{2.4, 2.7}, bounds{2.4, 2.7}},
		{"and the attempt's number goes along", "–", tiers{attempt: true}, bounds{3, 3}, bounds{3, 3}},
		{"and all three", "–", tiers{deadline: true, budget: true, attempt: true}, bounds{1.19, 1.22}, bounds{1.19, 1.22}},
	} {
		failing, hanging := v.tiers.queries(t, time.Millisecond), v.tiers.queries(t, 3*time.Second)
		require.True(t, v.failing.hold(failing), "%s: %v queries, failing", v.name, failing)
		require.True(t, v.hanging.hold(hanging), "%s: %v queries, hanging", v.name, hanging)
		rows = append(rows, row(v.name, "%s | %.3g | %.3g", v.published, failing, hanging))
	}
	s.para(`A call goes through five tiers to a database that is down; each tier tries three times, without a pause, with a timeout of 1 s
		for each try, and does not notice when its caller has left. The database fails after 1 ms, or hangs for 3 s. 100 calls a
		second come, for 20 s where there are budgets. Queries for each call:`)
	s.table(rows...)
	s.para(`*Published*: "If each layer retries independently, the load on the database will increase 243x", three tries, then nine, and
		so on; best practice is "to retry at a single point in the stack". *Ours* is exact: 3 to the power 5. A deadline that goes
		along is worth everything when the database hangs, because the time is up when the first tier's try is, and nothing when
		it fails at once. A budget of 20 %% in each of five tiers multiplies as well, to 1.2 to the power 5, which is 2.49, and a
		little for the retry a second that each tier may make besides. With the number of the attempt, which retry.Attempt tells
		and stabilityhttp sends, the first tier alone retries; its budget makes 1.2 of the 3. Within a process the number goes along
		by itself, and the kind of the error stops the outer tiers as well; so the 243 need tiers that lose both, as processes do
		that send nothing along.`)
	s.publish(t)
}

// tiers says what goes from a tier to the next with a call, and whether each tier
// has a budget for its retries.
type tiers struct{ deadline, attempt, budget bool }

// queries returns how many calls reach the database for each that comes from
// outside.
func (v tiers) queries(t *testing.T, failsAfter time.Duration) float64 {
	t.Helper()
	const depth = 5
	calls := 100 // all alike
	if v.budget {
		calls = 2000 // for two windows of the budget
	}
	var queries atomic.Int64
	synctest.Test(t, func(t *testing.T) {
		process := t.Context()
		var running sync.WaitGroup
		tier := func(ctx context.Context) error {
			queries.Add(1)
			answer := time.NewTimer(failsAfter)
			defer answer.Stop()
			select {
			case <-answer.C:
				return errDown
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		for range depth {
			cfg := retry.Config{Jitter: atOnce}
			if !v.budget {
				cfg.Budget = retry.Unlimited()
			}
			tries, attempt, next := retry.New(cfg), timeout.New(timeout.Config{After: time.Second}), tier
			tier = func(ctx context.Context) error {
				return tries.Run(ctx, func(ctx context.Context) error {
					return attempt.Run(ctx, func(ctx context.Context) error {
						return v.send(ctx, process, &running, next)
					})
				})
			}
		}
		for range calls {
			time.Sleep(10*time.Millisecond + time.Nanosecond) // no two calls ever act in the same instant
			running.Go(func() { _ = tier(process) })
		}
		running.Wait()
	})
	return float64(queries.Load()) / float64(calls)
}

var errDown = errors.New("the database is down")

// send is a call to the next tier, which is another process: it works on when its
// caller has left, and knows of the call what is sent along.
func (v tiers) send(ctx, process context.Context, running *sync.WaitGroup, next func(context.Context) error) error {
	answer := make(chan error, 1)
	running.Go(func() {
		there := process
		if deadline, ok := ctx.Deadline(); ok && v.deadline {
			var cancel context.CancelFunc
			there, cancel = context.WithDeadline(there, deadline)
			defer cancel()
		}
		if v.attempt {
			there = retry.WithAttempt(there, retry.Attempt(ctx))
		}
		if err := next(there); err != nil {
			answer <- errDown // of what kind the error was is not sent along
			return
		}
		answer <- nil
	})
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

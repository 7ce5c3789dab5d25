package ratelimit

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// Any rate and burst that Validate lets pass can be lived with: nothing panics,
// nothing is granted that is not there, no wait goes on past its deadline, and one
// that is not refused ends.
//
// Contract: 26, 41
func FuzzExtremes(f *testing.F) {
	f.Add(1.0, 1, 1, int64(time.Second), int64(0))
	f.Add(math.MaxFloat64, 1<<30, 1<<30, int64(math.MaxInt64), int64(math.MaxInt64))
	f.Add(math.SmallestNonzeroFloat64, 1, 1, int64(1), int64(math.MaxInt64))
	f.Add(1e9/3, 2, 2, int64(7), int64(3))
	f.Add(math.NaN(), -1, -1, int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, rate float64, burst, n int, sleep, within int64) {
		cfg := Config{Rate: rate, Burst: burst, MaxWait: time.Duration(within)}
		if cfg.Validate() != nil {
			defer func() {
				if recover() == nil {
					t.Error("New takes what Validate does not")
				}
			}()
			New(cfg)
			return
		}
		synctest.Test(t, func(t *testing.T) {
			l := New(cfg)
			burst := l.Stats().Burst
			for range 3 {
				if l.AllowN(n) != (n <= burst) {
					t.Errorf("AllowN(%d) of a full bucket of %d", n, burst)
				}
				if n > 0 && n <= burst && l.AllowN(burst-n+1) {
					t.Error("granted more than the burst at one instant")
				}
				began := time.Now()
				err := l.Run(t.Context(), func(context.Context) error { return nil })
				if took := time.Since(began); took > cfg.MaxWait || err != nil && took > 0 {
					t.Errorf("waited %v: %v", took, err)
				}
				if s := l.Stats(); s.Tokens < 0 || s.Tokens > float64(burst) || s.Queued != 0 {
					t.Errorf("at rest: %+v", s)
				}
				time.Sleep(min(time.Duration(max(sleep, 0)), 1000*time.Hour))
				// Whatever the rate, a bucket is filled by setting one that fills it.
				if l.SetRate(math.MaxFloat64) != nil {
					t.Error("SetRate")
				}
				time.Sleep(time.Second)
				if l.SetRate(rate) != nil || l.Stats().Tokens != float64(burst) || l.alarm.isSet() {
					t.Errorf("not full and quiet: %+v", l.Stats())
				}
			}
		})
	})
}

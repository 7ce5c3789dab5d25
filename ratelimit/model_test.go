package ratelimit

import (
	"context"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A reference is a token bucket in exact arithmetic, with its queue.
type reference struct {
	rate, burst, tokens *big.Rat
	now                 time.Duration
	queue               []*reserved
}

// reserved is a place in the reference's queue, and then when it was served.
type reserved struct {
	n      int64
	at     time.Duration
	served bool
}

func newReference(rate float64, burst int) *reference {
	return &reference{rate: new(big.Rat).SetFloat64(rate), burst: whole(int64(burst)), tokens: whole(int64(burst))}
}

func whole(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

var second = whole(int64(time.Second))

// gain is the tokens that come in d.
func (r *reference) gain(d time.Duration) *big.Rat {
	g := new(big.Rat).Quo(whole(int64(d)), second)
	return g.Mul(g, r.rate)
}

// need is how long n tokens take to come, in whole nanoseconds, rounded up.
func (r *reference) need(n *big.Rat) time.Duration {
	if n.Sign() <= 0 {
		return 0
	}
	d := new(big.Rat).Quo(n, r.rate)
	d.Mul(d, second)
	q, m := new(big.Int).DivMod(d.Num(), d.Denom(), new(big.Int))
	if m.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return time.Duration(q.Int64())
}

func (r *reference) lack(n int64) *big.Rat { return new(big.Rat).Sub(whole(n), r.tokens) }

// advance lets time pass and serves the queue.
func (r *reference) advance(to time.Duration) {
	for len(r.queue) > 0 {
		head := r.queue[0]
		at := r.now + r.need(r.lack(head.n))
		if at > to {
			break
		}
		r.accrue(at)
		r.tokens.Sub(r.tokens, whole(head.n))
		head.served, head.at = true, at
		r.queue = r.queue[1:]
	}
	r.accrue(to)
}

func (r *reference) accrue(to time.Duration) {
	r.tokens.Add(r.tokens, r.gain(to-r.now))
	if r.tokens.Cmp(r.burst) > 0 {
		r.tokens.Set(r.burst)
	}
	r.now = to
}

// A millionth of a token is what floating point is allowed to be wrong by.
var rounding = big.NewRat(1, 1e6)

func (r *reference) has(n *big.Rat) bool { return r.tokens.Cmp(n) >= 0 }

// grants runs Allow and AllowN, in bursts and one by one, against the reference. What
// is granted was there, to the last token. What is refused was not there, or was
// worth no more than the place of a lease; after Burst/Rate without calls not even
// that is missing.
func grants(t *testing.T, rt *rapid.T) {
	perSecond := rapid.SampledFrom([]float64{0.3, 7, 1000, 12_345.678, 1e6}).Draw(rt, "rate")
	burst := rapid.SampledFrom([]int{1, 2, 5, 31, 32, 100, 1000, 5000, 30_000}).Draw(rt, "burst")
	type step struct {
		sleep time.Duration
		calls int
		n     int
		idle  bool
		rate  float64
		burst int
		whole bool // as a whole configuration
	}
	script := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		s := step{calls: rapid.IntRange(0, 150).Draw(rt, "calls"), n: 1, whole: rapid.Bool().Draw(rt, "whole")}
		switch rapid.IntRange(0, 9).Draw(rt, "kind") {
		case 0:
			s.idle = true
		case 1:
			s.n = rapid.IntRange(1, 40).Draw(rt, "n")
		case 2:
			s.rate = rapid.SampledFrom([]float64{0.3, 7, 1000, 1e6}).Draw(rt, "new rate")
		case 3:
			s.burst = rapid.SampledFrom([]int{1, 31, 100, 5000}).Draw(rt, "new burst")
		default:
			s.sleep = time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(rt, "sleep"))
			if rapid.Bool().Draw(rt, "short") {
				s.sleep /= 10_000
			}
		}
		return s
	}), 1, 30).Draw(rt, "script")

	crowded := rapid.Bool().Draw(rt, "crowded")

	var fault string
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: perSecond, Burst: burst})
		l.needAlarm().crowded.Store(crowded)
		ref := newReference(perSecond, burst)
		missing := func() *big.Rat { return whole(max(int64(l.lender.size), int64(l.lender.striped)*int64(stripes))) }
		for i, s := range script {
			if s.rate > 0 {
				if s.whole {
					require.NoError(t, l.Reconfigure(Config{Rate: s.rate, Burst: burst}))
				} else {
					require.NoError(t, l.SetRate(s.rate))
				}
				ref.rate.SetFloat64(s.rate)
				perSecond = s.rate
			}
			if s.burst > 0 {
				if s.whole {
					require.NoError(t, l.Reconfigure(Config{Rate: perSecond, Burst: s.burst}))
				} else {
					require.NoError(t, l.SetBurst(s.burst))
				}
				burst = s.burst
				ref.burst = whole(int64(burst))
				// The place that a lease had may be lost with it: compare when it is full.
				s.idle = true
			}
			if s.idle {
				s.sleep = time.Duration(float64(burst)/perSecond*float64(time.Second)) + 1
			}
			time.Sleep(s.sleep)
			synctest.Wait() // for the alarm
			ref.advance(l.now())
			if s.idle {
				ref.tokens.Set(ref.burst)
				s.calls = burst + 10
			}
			for range s.calls {
				got := l.AllowN(s.n)
				slack := new(big.Rat).Add(whole(int64(s.n)), rounding)
				if !s.idle {
					slack.Add(slack, missing())
				}
				switch {
				case got && !ref.has(new(big.Rat).Sub(whole(int64(s.n)), rounding)):
					fault = fmt.Sprintf("step %d %+v: granted with %s tokens", i, s, ref.tokens.FloatString(9))
				case !got && s.n <= burst && ref.has(slack):
					fault = fmt.Sprintf("step %d %+v: refused with %s tokens", i, s, ref.tokens.FloatString(9))
				}
				if got {
					ref.tokens.Sub(ref.tokens, whole(int64(s.n)))
				}
				if fault != "" {
					return
				}
			}
		}
	})
	if fault != "" {
		rt.Fatal(fault)
	}
}

// Contract: 23, 26
func TestGrantsAgainstTheReference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { grants(t, rt) })
}

func FuzzGrants(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte) {
		rapid.MakeFuzz(func(rt *rapid.T) { grants(t, rt) })(t, script)
	})
}

// waits runs waits with and without a deadline, and their cancellations, against the
// reference: each is served at its instant, in order, or refused at once.
func waits(t *testing.T, rt *rapid.T) {
	// Rates of which a token takes a whole number of nanoseconds, and bursts too
	// small for leases: all is exact.
	perSecond := rapid.SampledFrom([]float64{0.5, 1, 10, 1000}).Draw(rt, "rate")
	burst := rapid.IntRange(1, 20).Draw(rt, "burst")
	token := time.Duration(float64(time.Second) / perSecond)
	type step struct {
		n      int
		within time.Duration // 0: no deadline
		cancel int           // -1: none
		sleep  time.Duration
	}
	script := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		s := step{cancel: -1}
		switch rapid.IntRange(0, 3).Draw(rt, "kind") {
		case 0:
			s.cancel = rapid.IntRange(0, 30).Draw(rt, "waiter")
		case 1:
			s.sleep = time.Duration(rapid.Int64Range(0, 10*int64(token)).Draw(rt, "sleep"))
		default:
			s.n = rapid.IntRange(1, burst).Draw(rt, "n")
			if rapid.Bool().Draw(rt, "deadline") {
				s.within = time.Duration(rapid.Int64Range(1, 30*int64(token)).Draw(rt, "within"))
			}
		}
		return s
	}), 1, 40).Draw(rt, "script")

	const near = 4 * time.Nanosecond // rounding of floating point to the nanosecond
	var fault string
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: perSecond, Burst: burst})
		ref := newReference(perSecond, burst)
		type call struct {
			*reserved
			cancel   context.CancelFunc
			canceled bool
			ended    bool
			err      error
			at       time.Duration
		}
		var calls []*call
		var wg sync.WaitGroup
		for i, s := range script {
			time.Sleep(s.sleep)
			synctest.Wait()
			ref.advance(l.now())
			switch {
			case s.cancel >= 0 && s.cancel < len(calls):
				c := calls[s.cancel]
				if c.ended || c.served { // served: perhaps one nanosecond from its end
					continue
				}
				c.canceled = true
				c.cancel()
				synctest.Wait()
				for j, r := range ref.queue {
					if r == c.reserved {
						ref.queue = append(ref.queue[:j:j], ref.queue[j+1:]...)
						break
					}
				}
				ref.advance(ref.now)
			case s.n > 0:
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if s.within > 0 {
					ctx, cancel = context.WithTimeout(ctx, s.within)
					defer cancel()
				}
				c := &call{reserved: &reserved{n: int64(s.n)}, cancel: cancel}
				wg.Go(func() { c.err = l.WaitN(ctx, s.n); c.at = l.now(); c.ended = true })
				synctest.Wait()

				total := int64(s.n)
				for _, r := range ref.queue {
					total += r.n
				}
				wait := ref.need(ref.lack(total))
				switch d := wait - s.within; {
				case s.within > 0 && d >= -near && d <= near:
					// Either is right. Take what came.
					if c.ended && c.err != nil {
						continue
					}
				case s.within > 0 && d > 0:
					if !c.ended || c.err == nil {
						fault = fmt.Sprintf("step %d %+v: not refused, it has to wait %v", i, s, wait)
						return
					}
					continue
				case c.ended && c.err != nil:
					fault = fmt.Sprintf("step %d %+v: %v, it has to wait %v", i, s, c.err, wait)
					return
				}
				ref.queue = append(ref.queue, c.reserved)
				ref.advance(ref.now)
				calls = append(calls, c)
			}
			if got := l.Stats().Queued; got < len(ref.queue) || got > len(ref.queue)+1 {
				fault = fmt.Sprintf("step %d %+v: %d wait, want %d", i, s, got, len(ref.queue))
				return
			}
		}
		wg.Wait()
		ref.advance(l.now() + time.Hour)
		for i, c := range calls {
			if late := c.at - c.reserved.at; !c.canceled && (c.err != nil || late < -near || late > near) {
				fault = fmt.Sprintf("wait %d: %v at %v, want it served at %v", i, c.err, c.at, c.reserved.at)
				return
			}
		}
		if s := l.Stats(); s.Queued != 0 || l.alarm.isSet() {
			fault = fmt.Sprintf("at rest: %+v, alarm %v", s, l.alarm.isSet())
		}
	})
	if fault != "" {
		rt.Fatal(fault)
	}
}

// Contract: 24, 25
func TestWaitsAgainstTheReference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { waits(t, rt) })
}

func FuzzWaits(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte) {
		rapid.MakeFuzz(func(rt *rapid.T) { waits(t, rt) })(t, script)
	})
}

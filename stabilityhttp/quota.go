package stabilityhttp

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/keyed"
	"github.com/crumplezone/stability/internal/telemetry"
)

// ErrQuota is the Reason of the refusals of [PartQuota]: the server has said that
// nothing is left of this client's quota.
var ErrQuota = errors.New("stabilityhttp: the server's quota is used up")

const quotaGateName = "quota"

// quotas refuse requests that the server would refuse: those to a host that has
// refused one, with a field RateLimit that said that nothing is left, until it said
// that there would be something, for up to longestPushback.
type quotas struct {
	name    string
	heard   atomic.Bool // that a quota was used up: most servers never say so
	members *keyed.Map[quota]
	tally   telemetry.Tally
	calls   *telemetry.Calls
}

// A quota is a gate that knows until when the host wants to be left alone.
type quota struct {
	all   *quotas
	key   string
	spent atomic.Int64 // until then, as a time since epoch
}

// epoch is what times are kept against, so that each fits into a word and steps of
// the wall clock change nothing.
var epoch = time.Now()

func newQuotas(cfg TransportConfig) *quotas {
	m := telemetry.NewMeter(cfg.MeterProvider, quotaGateName, cfg.Name)
	q := &quotas{name: cfg.Name, calls: m.Calls("_OTHER", quotaGateName+"_rejected")}
	q.members = keyed.New(cfg.Keys,
		func(m *quota, key string) { m.all, m.key = q, key },
		func(m *quota) string { return m.key },
		func(q *quota) bool { return q.left() <= 0 })
	telemetry.Observe(m, q, func(q *quotas, o metric.Observer) { q.calls.Observe(o, q.tally.Calls()) })
	telemetry.Register(m, q, (*quotas).point)
	return q
}

// point is what the quotas are listed as among the points of a process.
func (q *quotas) point() stability.Point {
	spent := 0
	for member := range q.members.All() {
		if member.left() > 0 {
			spent++
		}
	}
	return stability.Point{
		Keys:    q.members.Len(),
		Limits:  map[string]string{"longest": longestPushback.String()},
		Calls:   q.tally.Calls(),
		Figures: map[string]float64{"spent": float64(spent)},
	}
}

func (q *quotas) get(key string) *quota {
	if q == nil || !q.heard.Load() {
		return nil
	}
	return q.members.Get(key)
}

// Admit implements [stability.Admitter].
func (q *quota) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if q == nil || q.spent.Load() == 0 {
		return ctx, stability.Admission{}, nil
	}
	left := q.left()
	if left <= 0 {
		return ctx, stability.Admission{}, nil
	}
	r := &stability.Rejection{Policy: quotaGateName, Name: q.all.name, Key: q.key, Reason: ErrQuota, RetryAfter: left}
	q.all.tally.CountRejected()
	telemetry.Rejected(ctx, r)
	return ctx, stability.Admission{}, r
}

// note takes up what a refusal says, of which Retry-After takes precedence (section
// 7 of the draft). An answer that took the last of a quota is none: what the quota is
// for, the field does not say, and the next request may have another. Hosts past the
// bound share a quota, and must not hear of one another's.
func (q *quotas) note(key string, resp *http.Response) {
	h := resp.Header
	if q == nil || h["Ratelimit"] == nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	if _, exhausted := exhaustedFor(h); !exhausted {
		return
	}
	member := q.members.Get(key)
	if member.key == stability.OverflowKey {
		return
	}
	wait, _ := pushback(h, time.Now())
	member.spent.Store(int64(time.Since(epoch) + min(wait, longestPushback)))
	q.heard.Store(true)
}

func (q *quota) left() time.Duration { return time.Duration(q.spent.Load()) - time.Since(epoch) }

package stabilityhttp

import (
	"context"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/ended"
	"github.com/crumplezone/stability/internal/onhold"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/points"
)

// ErrQuota is the Reason of the refusals of [PartQuota]: the server has said that
// nothing is left of this client's quota, for longer than the request has time.
var ErrQuota = stability.NewReason("stabilityhttp: the server's quota is used up")

const quotaGateName = "quota"

// quotas hold back requests that the server would refuse: those to a host that has
// refused one, with a field RateLimit that said that nothing is left, until it is open
// again, for up to longestQuota.
type quotas struct {
	name    string
	passOn  time.Duration // what a request made while serving does not wait for
	heard   atomic.Bool   // that a quota was used up: most servers never say so
	members *stability.Group[quota]
	tally   telemetry.Tally
	calls   *telemetry.Calls
}

// longestQuota bounds what is believed of a server that says that nothing is left.
const longestQuota = time.Minute

// A quota is a gate that knows until when the host wants to be left alone.
type quota struct {
	all    *quotas
	key    string       // of the member
	shared bool         // by keys past the bound
	spent  atomic.Int64 // until then at the least, as a time since epoch
	slack  atomic.Int64 // and until so much later at the most
}

// epoch is what times are kept against, so that each fits into a word and steps of
// the wall clock change nothing.
var epoch = time.Now()

func newQuotas(cfg TransportConfig) *quotas {
	m := telemetry.NewMeter(cfg.MeterProvider, quotaGateName, cfg.Name)
	q := &quotas{name: cfg.Name, passOn: cfg.passOn(), calls: m.Calls("_OTHER", quotaGateName+"_rejected")}
	q.members = stability.NewGroup(cfg.Keys, stability.Members[quota]{
		Create: func(m *quota, key string, overflow bool) { m.all, m.key, m.shared = q, key, overflow },
		Key:    func(m *quota) string { return m.key },
		Blank:  func(q *quota) bool { return q.left() <= 0 },
	})
	telemetry.Observe(m, q, func(q *quotas, o metric.Observer) { q.calls.Observe(o, q.tally.Calls()) })
	telemetry.Register(m, q, points.Source[quotas]{Read: (*quotas).point})
	return q
}

// point is what the quotas are listed as among the points of a process.
func (q *quotas) point() points.Point {
	spent := 0
	for _, member := range q.members.All() {
		if member.left() > 0 {
			spent++
		}
	}
	return points.Point{
		Keys:     q.members.Len(),
		Settings: []points.Setting{{Name: "longest", Value: longestQuota.String()}},
		Calls:    q.tally.Calls(),
		Figures:  map[string]float64{"spent": float64(spent)},
	}
}

// get returns the quota of a request; nil where no server has ever said that one is
// used up.
func (q *quotas) get(key string, req *http.Request) *quota {
	if q == nil || !q.heard.Load() {
		return nil
	}
	return q.members.Get(quotaKey(key, req))
}

// quotaKey is what a quota is kept by: the key of the host and, because a server has a
// quota for each of its users, a digest of what a request says about its user. What users
// have each of their own is not refused for another's.
func quotaKey(key string, req *http.Request) string {
	var user maphash.Hash
	user.SetSeed(quotaSeed)
	known := false
	for _, field := range userFields {
		for _, value := range req.Header[field] {
			known = true
			_, _ = user.WriteString(field)
			_, _ = user.WriteString(value)
			_ = user.WriteByte(0) // no value has one
		}
	}
	if !known {
		return key
	}
	return key + "\x00" + strconv.FormatUint(user.Sum64(), 16)
}

var quotaSeed = maphash.MakeSeed()

// userFields are those by which servers tell users apart.
var userFields = [...]string{
	"Authorization", "Cookie", "X-Api-Key", "Api-Key", "Forwarded", "X-Forwarded-For", "X-Real-Ip", "X-Request-Caller",
}

// Admit implements [stability.Admitter]. A request waits for a quota that opens within
// its time. Those that wait come back over a time that grows with their wait, and look
// again before they go on, since the first of them may have been refused meanwhile.
func (q *quota) Admit(ctx context.Context) (context.Context, stability.Admission, error) {
	if q == nil {
		return ctx, stability.Admission{}, nil
	}
	for q.spent.Load() != 0 {
		left := q.left()
		if left <= 0 {
			break
		}
		slack := time.Duration(q.slack.Load())
		if left > q.all.passOn && isServing(ctx) {
			return ctx, stability.Admission{}, q.reject(ctx, left+slack)
		}
		spread := slack + left/4
		if deadline, ok := ctx.Deadline(); ok {
			room := time.Until(deadline) - left
			if room <= 0 {
				return ctx, stability.Admission{}, q.reject(ctx, left+slack)
			}
			spread = min(spread, room/2)
		}
		if err := q.wait(ctx, left+rand.N(spread+1)); err != nil {
			return ctx, stability.Admission{}, err
		}
	}
	return ctx, stability.Admission{}, nil
}

func (q *quota) wait(ctx context.Context, d time.Duration) error {
	defer onhold.Begin(ctx).End()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ended.Err(ctx)
}

func (q *quota) reject(ctx context.Context, retryAfter time.Duration) error {
	host, _, _ := strings.Cut(q.key, "\x00")
	r := &stability.Rejection{Policy: quotaGateName, Name: q.all.name, Key: host, Reason: ErrQuota, RetryAfter: retryAfter}
	q.all.tally.CountRejected()
	telemetry.Rejected(ctx, r)
	return r
}

// note takes up what a refusal says, of which Retry-After takes precedence (section
// 7 of the draft). An answer that took the last of a quota is none: what the quota is
// for, the field does not say, and the next request may have another. Hosts past the
// bound share a quota, and must not hear of one another's.
//
// The fields have whole seconds, into which servers round up: "within a second" may be
// five milliseconds. What they can mean at the least is believed, and nothing beyond.
func (q *quotas) note(key string, req *http.Request, resp *http.Response) {
	h := resp.Header
	if q == nil || h["Ratelimit"] == nil || resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	if _, exhausted := exhaustedFor(h); !exhausted {
		return
	}
	wait, slack := pushbackRange(h, time.Now())
	if wait = min(wait, longestQuota); wait <= 0 {
		return
	}
	member := q.members.Get(quotaKey(key, req))
	if member.shared {
		return
	}
	member.slack.Store(int64(slack))
	for until := int64(time.Since(epoch) + wait); ; {
		spent := member.spent.Load()
		if member.left() >= wait || member.spent.CompareAndSwap(spent, until) {
			break // a longer one of another policy of the server is not over
		}
	}
	q.heard.Store(true)
}

// left returns how long the quota is used up yet. More than was ever believed is of
// another clock, outside or inside a synctest bubble.
func (q *quota) left() time.Duration {
	left := time.Duration(q.spent.Load()) - time.Since(epoch)
	if left > longestQuota {
		return 0
	}
	return left
}

package stabilityhttp

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
)

// A Transport is an [http.RoundTripper] that guards each request. From the outside
// in, a request passes
//
//   - the total timeout: a deadline for all that follows, the response's body
//     included;
//   - the retry, which makes again what may be made again, within a budget;
//   - the hedge, where there is one, which sends a slow request once more;
//   - the quota, the rate limit, the bulkhead and the breaker of its host. Requests for
//     an upgrade have a bulkhead of their own;
//   - the stall timeout: a bound on waiting for the server at a stretch;
//   - the base [http.RoundTripper].
//
// An open breaker refuses before a request waits for a quota, a token or a permit.
//
// A breaker is told how the call ended when the response's headers have come. A
// bulkhead's permit is held until its body has ended: at io.EOF, at an error, or at
// Close. A body that is cut short or stalls is a failure in place of the success that its
// headers were. Close without reading is not: the server
// answered, and the caller did not care for the rest; of that, Close reads a little,
// for up to 10ms, so that the connection can be used again. A body that is neither
// read nor closed gives everything back when its context ends.
//
// A connection upgraded with status 101 is the caller's, without time limits; it holds its
// permit until it is closed. A 101 to a request that has not
// asked for an upgrade, with the fields Connection and Upgrade, is an error.
//
// Requests with other schemes than http and https go to the base as they are.
//
// A nil *Transport is [http.DefaultTransport], and what net/http has there by itself where
// it is that, or in that. All methods may be called by any
// number of goroutines.
type Transport struct {
	base           http.RoundTripper
	cfg            TransportConfig
	timeout        time.Duration // 0: none
	patience       time.Duration // of an attempt that another may follow; 0: endless
	lastPatience   time.Duration // of one that none follows
	attempts       int           // at the most
	passOn         time.Duration // what a request made while serving does not wait for
	queues         bool          // the base may make requests wait for a connection
	deadlineHeader string        // "": none
	nearlyAll      string        // what deadlineHeader says when hardly any time has passed

	limits      *limits
	retry       *retry.Retry
	customRetry bool // TransportConfig.Retryable is not Retryable
	hedge       *hedge.Hedge
	quotas      *quotas
	limiters    *ratelimit.Group
	bulkheads   *bulkhead.Group
	upgrades    lazy[bulkhead.Group] // most clients never ask for one
	breakers    *breaker.Group
}

// NewTransport returns a Transport that sends with base. A nil base is a copy of
// [http.DefaultTransport], with idle connections kept for as many requests as the
// bulkhead lets through, up to 512 over all hosts or as many as that where it is more,
// and response headers of at most 1 MiB. The zero cfg is a
// client with every part on but the rate limit. It panics with the error of
// [TransportConfig.Validate] when cfg is not usable, and where the Bulkhead.Limit of cfg
// is larger than MaxConnsPerHost of base.
func NewTransport(base http.RoundTripper, cfg TransportConfig) *Transport {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	cfg, err := cfg.fit(base)
	if err != nil {
		panic(err)
	}
	customRetry, customStall := cfg.Retryable != nil, cfg.StallTimeout != 0
	cfg = cfg.withDefaults()
	t := &Transport{cfg: cfg, base: base, customRetry: customRetry, passOn: cfg.passOn()}
	if base == nil {
		t.base = newBase(cfg)
	}
	if cfg.on(PartTimeout) {
		t.timeout = cfg.Timeout
	}
	if cfg.on(PartStallTimeout) {
		t.patience, t.lastPatience = cfg.StallTimeout, cfg.StallTimeout
		if cfg.on(PartTimeout) && !customStall {
			t.lastPatience = cfg.Timeout
		}
	}
	t.queues = queues(t.base)
	t.limits = newLimits(cfg, t.timeout, t.patience)
	if cfg.on(PartDeadlineHeader) {
		t.deadlineHeader = http.CanonicalHeaderKey(cfg.DeadlineHeader)
		t.nearlyAll = formatDeadline(t.timeout - 1)
	}
	if cfg.Retry.Budget == nil { // the retries and the hedges to a host share it
		cfg.Retry.Budget = retry.NewBudget(retry.BudgetConfig{Key: keyOf, Keys: cfg.Keys})
	}
	if cfg.on(PartRetry) {
		t.retry = retry.New(cfg.Retry)
		t.attempts = cfg.Retry.Attempts
		orDefault(&t.attempts, defaultAttempts)
	}
	if cfg.Hedge != nil {
		t.hedge = hedge.New(cfg.hedge())
	}
	if cfg.on(PartQuota) {
		t.quotas = newQuotas(cfg)
	}
	if cfg.RateLimit.Rate != 0 {
		t.limiters = ratelimit.NewGroup(cfg.RateLimit, cfg.Keys)
	}
	if cfg.on(PartBulkhead) {
		t.bulkheads = bulkhead.NewGroup(cfg.Bulkhead, cfg.Keys)
	}
	if cfg.on(PartBreaker) {
		t.breakers = breaker.NewGroup(cfg.Breaker, cfg.Keys)
	}
	return t
}

// maxIdleConns bounds the idle connections of the default base over all hosts, each of
// which takes three goroutines: a crawler, or who sends webhooks, has thousands of hosts.
const maxIdleConns = 512

// newBase returns the transport that is used where none is given.
func newBase(cfg TransportConfig) http.RoundTripper {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // somebody replaced it, and meant everybody to use theirs
		return http.DefaultTransport
	}
	base := standard.Clone()
	base.MaxIdleConnsPerHost = max(cfg.Bulkhead.Limit, http.DefaultMaxIdleConnsPerHost)
	base.MaxIdleConns = max(maxIdleConns, base.MaxIdleConnsPerHost)
	base.MaxResponseHeaderBytes = 1 << 20
	return base
}

// RoundTrip implements [http.RoundTripper]. Besides the errors of the base it
// returns
//
//   - a [stability.Rejection], where a gate refused and nothing was sent;
//   - a [timeout.Error], where a time limit of the Transport passed;
//   - a [retry.Error], where it gave up on a request that could have been sent
//     again, around the last attempt's error.
//
// A response is a response, whatever its status and however many attempts it took:
// the last one's. Only where another attempt was refused after a response, there is a
// retry.Error with [retry.ErrRefused] and the status.
//
// RoundTrip blocks for up to TransportConfig.Timeout. Over HTTP/1, net/http then waits
// for a Read of the request's body that is under way: the body is closed, which is to
// end it. The body of a request that a server got is not ended by that; who passes one
// on, as a [net/http/httputil.ReverseProxy] does, gives the server a ReadTimeout.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t == nil {
		return roundTripDefault(req)
	}
	if req.URL == nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return t.base.RoundTrip(req)
	}
	return t.exchange(req)
}

// standard is [http.DefaultTransport] as it was before anybody could put a Transport there.
var standard = http.DefaultTransport

type onStandard struct{}

// roundTripDefault sends with [http.DefaultTransport]. Where that leads back here, because
// it is a nil *Transport or has one in it, the request goes to what net/http has there by
// itself: without the mark it would call itself until the stack overflows.
func roundTripDefault(req *http.Request) (*http.Response, error) {
	if base, ok := http.DefaultTransport.(*http.Transport); ok {
		return base.RoundTrip(req)
	}
	if req.Context().Value(onStandard{}) != nil {
		return standard.RoundTrip(req)
	}
	resp, err := http.DefaultTransport.RoundTrip(req.WithContext(context.WithValue(req.Context(), onStandard{}, true)))
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// CloseIdleConnections closes the idle connections of the base, if it knows how to.
// Requests under way go on. A nil *Transport closes those of [http.DefaultTransport] where
// that is an [http.Transport], and else those of the one that net/http has by itself.
func (t *Transport) CloseIdleConnections() {
	base := http.DefaultTransport
	if t != nil {
		base = t.base
	} else if _, ok := base.(*http.Transport); !ok { // which may lead back here
		base = standard
	}
	if c, ok := base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// gates returns the gates of a request with that key.
func (t *Transport) gates(key string, req *http.Request) [gates]stability.Admitter {
	bulkheads := t.bulkheads
	if bulkheads != nil && upgrades(req.Header) {
		bulkheads = t.upgrades.get(func() *bulkhead.Group { return bulkhead.NewGroup(t.cfg.Upgrades, t.cfg.Keys) })
	}
	return [gates]stability.Admitter{
		quotaGate:     t.quotas.get(key, req),
		rateLimitGate: t.limiters.Get(key),
		bulkheadGate:  bulkheads.Get(key),
		breakerGate:   t.breakers.Get(key),
	}
}

// A lazy value is made when it is first needed.
type lazy[T any] struct {
	mu    sync.Mutex
	value atomic.Pointer[T]
}

func (l *lazy[T]) get(create func() *T) *T {
	if v := l.value.Load(); v != nil {
		return v
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value.Load() == nil {
		l.value.Store(create())
	}
	return l.value.Load()
}

// timeLeft is formatDeadline without an allocation for the one value that most
// requests are sent with.
func (t *Transport) timeLeft(left time.Duration) string {
	if left.Milliseconds() == (t.timeout - 1).Milliseconds() {
		return t.nearlyAll
	}
	return formatDeadline(left)
}

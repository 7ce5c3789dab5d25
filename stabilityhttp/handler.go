package stabilityhttp

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
	"github.com/crumplezone/stability/points"
	"github.com/crumplezone/stability/ratelimit"
)

// HandlerConfig configures a [Handler]. The zero HandlerConfig is valid: it takes up
// what the client says about its deadline and its attempts, and limits nothing, since
// what a server can do and what it owes to each client only its owner knows.
type HandlerConfig struct {
	// Name names the handler in refusals and telemetry. Default "".
	Name string
	// Off are the parts to leave out. There is one: with PartDeadlineHeader off, what
	// a request says about its deadline is as if it were not there, as it should be
	// where anybody can send it and no proxy strips or bounds it. Default none.
	Off Part

	// Edge says that nobody vouches for the clients, as on the way in from the internet.
	// What requests say about their deadline, their attempt, how critical they are and on
	// whose behalf they come is not believed, and not passed further in: the fields
	// DeadlineHeader, [DeadlineHeader], [AttemptHeader], [CriticalityHeader] and
	// [CallerHeader] are as if they were not there. Give it a MaxTimeout. Default
	// false: the clients are services of the same house.
	Edge bool

	// DeadlineHeader is the name of the request header that carries the time left to
	// the client, in milliseconds. Where a request has several, the shortest time counts.
	// The handler finds in it what is left when it begins, for a proxy to hand on. As in
	// TransportConfig, it must not be a field that means something else. Default
	// [DeadlineHeader].
	DeadlineHeader string
	// MinTimeout is how much time a request must have left when its work begins, before
	// and after waiting. One that has less is refused, because it would end in the midst
	// of its work. For requests that wait for a permit, the Bulkhead learns by itself how
	// long the work takes; give a MinTimeout for those that need not wait, where the work
	// never gets done in less. Default 5ms, or half of MaxTimeout where that is shorter; a
	// nanosecond is as good as none.
	MinTimeout time.Duration
	// MaxTimeout is how long a request may take at the most, waiting included, whatever
	// its deadline header says, and also without one. The context of the request ends
	// then; a handler that does not look at it goes on. One that does look, and returns
	// without having written anything, has answered 200 with an empty body, as ever
	// with net/http: it is for the handler to say 504, as [ErrorHandler] does, or to panic
	// with [http.ErrAbortHandler] where a part of the answer is on its way.
	//
	// A Read of the request's body and a Write of the response do not look at the
	// context. They end 5s after MaxTimeout, or after [http.Server.ReadTimeout] and
	// [http.Server.WriteTimeout] where those are earlier, so that a client which neither
	// sends nor reads does not hold its handler, and a permit of the Bulkhead, for longer.
	// Where the server's ResponseWriter cannot set deadlines, nothing is set.
	//
	// An upgraded connection (a request with Upgrade, such as a WebSocket's, or a CONNECT)
	// has no deadline any more from its Hijack on: neither this one nor the client's, and
	// its context ends with the handler. Its handler bounds it. Default 0: as long as the
	// header says, and without it as long as it takes.
	MaxTimeout time.Duration

	// RateLimit limits how many requests each client makes, within its bounded number
	// of members. It may be shared with other handlers. Default nil: no limit.
	RateLimit *ratelimit.Group
	// Client returns the key of the client that r comes from, for RateLimit. Where it
	// is made of what the client says itself, such as a name in a header, have that
	// proved first. Behind proxies use [ClientIPBehind]. Default [ClientIP].
	Client func(r *http.Request) string
	// NetworkLimit limits how many requests all clients of one IPv6 network make
	// together, before RateLimit is asked. A site has a network of 65,536 keys of
	// [ClientIP], a /48, and whoever has one could fill the members of RateLimit with
	// them, so that all other clients share what is kept for those past its bound. It is
	// asked about requests whose key is an IPv6 prefix or address, as ClientIP's is, with
	// the /48 as its key. Give it a Burst of what a site with many users sends, and
	// well below the members of RateLimit: a request that it refuses makes no member.
	// Default nil: no limit.
	NetworkLimit *ratelimit.Group

	// Bulkhead limits how many requests are served at the same time and how many more
	// wait. It may be shared with other handlers. A request does not wait that would wait
	// for longer than the bulkhead's MaxWait, or could then hardly end before its deadline,
	// going by how long requests took lately. Nor is one started that its wait has left too
	// little time. See [bulkhead.Bulkhead.Run]. Default nil: no limit.
	Bulkhead *bulkhead.Bulkhead
	// SaturatedFor is how long the Bulkhead may be without room before
	// [Handler.Ready] says so. It is without room from a refusal until the next moment
	// with a free permit and nobody waiting, of which the Handler learns at the end of
	// its own requests and when it is asked; a refusal is also a call that gave up in
	// the queue. Give it only where the processes behind
	// the load balancer are not likely to be full all at once: the load of those that
	// leave falls on the others. Default 0: a full Bulkhead refuses with 503, and the
	// process stays ready.
	SaturatedFor time.Duration

	// MeterProvider provides the instruments. Default the global one of
	// OpenTelemetry.
	MeterProvider metric.MeterProvider
}

// Validate returns all that is not usable or contradicts itself, each with the field and
// its value: the error that [NewHandler] panics with.
func (c HandlerConfig) Validate() error {
	p := check.Of("stabilityhttp: HandlerConfig")
	p.If(c.Off&^PartDeadlineHeader != 0, "Off", uint64(c.Off), "has a part that a Handler does not have")
	p.If(c.Off&PartDeadlineHeader != 0 && !c.Edge && c.DeadlineHeader != "", "DeadlineHeader", c.DeadlineHeader,
		"is configured and Off has PartDeadlineHeader: drop one of them")
	p.If(!isToken(c.DeadlineHeader), "DeadlineHeader", c.DeadlineHeader, "must be the name of a header field")
	p.If(isTaken(c.DeadlineHeader), "DeadlineHeader", c.DeadlineHeader, "says something else: choose another name")
	p.If(c.MinTimeout < 0, "MinTimeout", c.MinTimeout, "must not be negative")
	p.If(c.MaxTimeout < 0, "MaxTimeout", c.MaxTimeout, "must not be negative")
	p.If(c.MaxTimeout > 0 && c.MinTimeout >= c.MaxTimeout, "MinTimeout", c.MinTimeout,
		fmt.Sprintf("is not shorter than MaxTimeout (%v), so that every request would be refused: shorten it, or lengthen MaxTimeout", c.MaxTimeout))
	p.If(c.Client != nil && c.RateLimit == nil && c.NetworkLimit == nil, "Client", "a function",
		"is not asked without a RateLimit or a NetworkLimit: configure one, or drop it")
	p.If(c.SaturatedFor < 0, "SaturatedFor", c.SaturatedFor, "must not be negative")
	p.If(c.SaturatedFor > 0 && c.Bulkhead == nil, "SaturatedFor", c.SaturatedFor, "needs a Bulkhead that can be full")
	return p.Err()
}

// A Handler is an [http.Handler] that guards another one. From the outside in, a
// request passes
//
//   - its deadline: the header's time is the context's, and where it is over, or as
//     good as over, or passes while the request waits, the answer is 504 (Gateway
//     Timeout, as google.rpc.Code maps DEADLINE_EXCEEDED), without a Retry-After,
//     since nobody waits for this request any more;
//   - the rate limits of its client's network and of its client: 429 with Retry-After;
//   - the bulkhead, in whose queue it may wait: 503 with Retry-After;
//   - the handler.
//
// The deadline is the client's word. What the handler calls fails when it passes. A
// [Transport] in whose context it passes, before a time limit of the Transport's own,
// takes that for Ignored: it cannot tell a dependency that hangs from a client that gives
// less time than the work takes. So no client opens the breakers of everybody else, and a
// dependency that hangs is found by the Transport's limits: give it a StallTimeout that
// is shorter than what most clients give. Other breakers count a deadline that passes as
// a failure, whoever gave it. Where clients are not trusted, see [HandlerConfig.Edge].
//
// Refusals have a short body of the type application/problem+json (RFC 9457). The
// number of the client's attempt ([AttemptHeader]) is taken up with
// [retry.WithAttempt]: what a request that is retried as a whole calls further in is
// not retried once more. So that it is retried at all, the handler must answer what
// failed further in with a status that its client retries: 502, 503 or 504, whichever
// is the case, and not 500; see [AttemptHeader].
//
// Where there is a rate limit, each response but 503 and 504 has the fields
// RateLimit-Policy and RateLimit of draft-ietf-httpapi-ratelimit-headers-11. The quota
// is the limiter's burst, its window the time in which an empty bucket fills; what is
// left comes with the time in which as much is earned. All are rounded up to what is
// earned in whole seconds, so that a client that spreads its requests over the time
// keeps to the rate, and gets it. The policy has the Handler's name, or "default".
//
// A request of a client that goes away leaves the queue. One that need not wait is
// served all the same, because a client that has only closed its half of the connection
// looks alike. If it is being served its
// context ends, and its permit comes back when the handler returns. Over HTTP/1.1 the
// server sees that a client has gone only once the request's body has been read, and
// not where more has come after it, so that a request may wait for as long as its
// deadline or the bulkhead's MaxWait lets it. A panic of the handler gives everything
// back and passes on, that of [http.ErrAbortHandler] too.
//
// The handler gets the server's own [http.ResponseWriter]: Hijack, Flush, ReadFrom and
// an [http.ResponseController] work as without the Handler. Only a request with a
// deadline that asks for an upgrade gets one around it, which has them too and lifts the
// deadline at the Hijack.
//
// A nil *Handler has nothing that it could guard, and is what a nil handler is everywhere
// in net/http: [http.DefaultServeMux], or 404 where it is registered on that itself. To
// have an off switch, put a handler behind [Handler.Guard]. All methods may be called by any number of
// goroutines.
type Handler struct {
	cfg         HandlerConfig
	next        http.Handler
	instruments *handlerTelemetry

	deadlineHeader string   // canonical
	disbelieved    []string // the fields of requests that are to be as if they were not there, canonical

	draining  atomic.Bool
	saturated saturation

	tally                        telemetry.Tally
	expired, limited, full, left stripe.Counter
}

// NewHandler returns a Handler that guards next. A nil next is
// [http.DefaultServeMux]. It panics with the error of [HandlerConfig.Validate] when
// cfg is not usable.
func NewHandler(next http.Handler, cfg HandlerConfig) *Handler {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	if next == nil {
		next = http.HandlerFunc(serveDefault)
	}
	orDefault(&cfg.DeadlineHeader, DeadlineHeader)
	if cfg.MinTimeout == 0 {
		cfg.MinTimeout = 5 * time.Millisecond
		if cfg.MaxTimeout > 0 {
			cfg.MinTimeout = min(cfg.MinTimeout, cfg.MaxTimeout/2)
		}
	}
	if cfg.Client == nil {
		cfg.Client = ClientIP
	}
	h := &Handler{cfg: cfg, next: next, instruments: newHandlerTelemetry(cfg), deadlineHeader: http.CanonicalHeaderKey(cfg.DeadlineHeader)}
	switch {
	case cfg.Edge:
		h.disbelieved = []string{h.deadlineHeader, DeadlineHeader, AttemptHeader, CriticalityHeader, CallerHeader}
	case cfg.Off&PartDeadlineHeader != 0:
		h.disbelieved = []string{h.deadlineHeader}
	}
	telemetry.Observe(h.instruments.meter, h, func(h *Handler, o metric.Observer) { h.observe(o) })
	telemetry.Register(h.instruments.meter, h, points.Source[Handler]{Read: (*Handler).point})
	return h
}

// ServeHTTP implements [http.Handler]. It blocks for as long as the request waits and
// its handler runs.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h == nil {
		serveDefault(w, r)
		return
	}
	h.guard(w, r, h.next)
}

// Guard returns a handler that guards next as h guards its own, with the same gates and
// figures: for routes that share what the server can do. Where h is nil, it is next
// itself, so that a nil *Handler is an off switch. A nil next is as for [NewHandler].
func (h *Handler) Guard(next http.Handler) http.Handler {
	if next == nil {
		next = http.HandlerFunc(serveDefault)
	}
	if h == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.guard(w, r, next) })
}

type onDefault struct{}

// serveDefault serves with [http.DefaultServeMux], as a nil handler does everywhere in
// net/http. Where it is registered there itself, and not further out, there is nothing to
// serve: without the mark it would call itself until the stack overflows.
func serveDefault(w http.ResponseWriter, r *http.Request) {
	if r.Context().Value(onDefault{}) != nil {
		http.NotFound(w, r)
		return
	}
	inner := r.WithContext(context.WithValue(r.Context(), onDefault{}, true))
	defer handBack(r, inner)
	http.DefaultServeMux.ServeHTTP(w, inner)
}

// guard serves a request with next, or refuses it.
func (h *Handler) guard(w http.ResponseWriter, r *http.Request, next http.Handler) {
	v := &visit{h: h, w: w, r: r, next: next}
	refused := false
	defer func() {
		if !v.served && !refused { // a function of the user's panicked before
			h.tally.Count(stability.Failure)
		}
	}()
	cancel := v.open()
	defer cancel()
	if err := v.enter(); !v.served {
		refused = true
		v.refuse(err)
	}
}

// handBack sets on the request what the handler left on its copy for who called: the
// server removes the temporary files of a MultipartForm, and a middleware further out
// reads the Pattern.
func handBack(r, inner *http.Request) {
	if inner.MultipartForm != nil {
		r.MultipartForm = inner.MultipartForm
	}
	if inner.Pattern != "" {
		r.Pattern = inner.Pattern
	}
}

// expire returns the refusal of a request whose time is over, which gates further out
// do not take for a failure.
func (h *Handler) expire(ctx context.Context, reason error) error {
	r := &stability.Rejection{Policy: "deadline", Name: h.cfg.Name, Reason: reason}
	telemetry.Rejected(ctx, r)
	return r
}

// policyName is the name of the rate limit in fields and problems.
func (h *Handler) policyName() string {
	if h.cfg.Name == "" {
		return "default"
	}
	return h.cfg.Name
}

// parseAttempt reads the value of [AttemptHeader]. Anything but a number, written with
// digits only, is 0: no attempt. What is past a million is a million.
func parseAttempt(value string) int {
	n, _ := parseDigits(value, 1, 1_000_000)
	return int(n)
}

// HandlerStats is what a [Handler] has done.
type HandlerStats struct {
	// Calls is how the requests ended. One is Ignored whose client had gone when the
	// handler returned or panicked, as a [net/http/httputil.ReverseProxy] does where a
	// client leaves in the midst of a download. Else it is Failed if the handler
	// panicked or returned after the deadline. The Handler does not look at what the
	// handler answers.
	stability.Calls
	// Of the Rejected:
	Expired int64 // 504
	Limited int64 // 429
	Full    int64 // 503
	Left    int64 // 499: the client went while its request waited
}

// Stats returns a reading of the moment.
func (h *Handler) Stats() HandlerStats {
	if h == nil {
		return HandlerStats{}
	}
	return HandlerStats{
		Calls:   h.tally.Calls(),
		Expired: h.expired.Load(),
		Limited: h.limited.Load(),
		Full:    h.full.Load(),
		Left:    h.left.Load(),
	}
}

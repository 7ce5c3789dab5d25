package stabilityhttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/hedge"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
)

// A Part is a part of a [Transport] that can be left out.
type Part uint

// The parts. Each is in unless TransportConfig.Off has it. The rate limit is none of
// them: it is in where it is configured.
const (
	// PartTimeout bounds a request with all its attempts.
	PartTimeout Part = 1 << iota
	// PartStallTimeout bounds each wait for the server.
	PartStallTimeout
	// PartRetry makes requests again.
	PartRetry
	// PartQuota holds requests to a host that has refused one, with status 429 or 503,
	// and said in its field RateLimit (draft-ietf-httpapi-ratelimit-headers-11) that
	// nothing is left of its client's quota. A request waits until the quota is open
	// again, where that is before its deadline; one without the time for that is refused
	// at once, and one that is made while a server answers another request where the wait
	// is longer than Retry.MaxPushback, by default 2s. The wait is as long as the field, or Retry-After, means at the
	// least, since both are rounded up to seconds; a minute at the most. Requests that
	// waited for the same quota come back one by one.
	//
	// Users are kept apart: a quota holds for the requests with the same values of the
	// fields Authorization, Cookie, X-Api-Key, Api-Key, Forwarded, X-Forwarded-For,
	// X-Real-Ip and X-Request-Caller. The partition key of the field (pk) is not read,
	// because it tells nothing about the next request. A host with a quota for each of
	// its endpoints, or that tells users apart in another way, needs a Key for each, or
	// to go without this part.
	PartQuota
	// PartBulkhead bounds the requests under way to a host.
	PartBulkhead
	// PartBreaker refuses requests to a host that fails.
	PartBreaker
	// PartDeadlineHeader tells the server how much time is left.
	PartDeadlineHeader

	allParts = 1<<iota - 1
)

// TransportConfig configures a [Transport]. The zero TransportConfig is valid.
type TransportConfig struct {
	// Name names the parts that have no name of their own, in refusals, errors and
	// telemetry. Default "".
	Name string
	// Off are the parts to leave out, such as PartRetry | PartBulkhead. What is zero
	// or nil elsewhere leaves nothing out, it is the default; but for the rate limit
	// and the hedge, which are in only where they are configured. A nil *Transport
	// has no part at all. Default none.
	Off Part

	// Timeout is how long a request may take in all: waiting for the gates, all
	// attempts with the pauses between them, and the response's body to its end. A
	// deadline of the request's context that is earlier counts in its place. Default 30s.
	//
	// Redirects that an [http.Client] follows are requests of their own, which share the
	// time of the first. A Transport knows them by Request.Response and the Request of
	// that. Where something between the client and the Transport drops these, or the
	// client follows redirects in another way, each has the whole time; bound them all with
	// a deadline of the context, or http.Client.Timeout. A request that
	// http.Client.CheckRedirect was given, and that is sent later by itself, has what is
	// left unless its Response is set to nil. A redirect to another host is sent without
	// DeadlineHeader, [AttemptHeader], [CriticalityHeader] and [CallerHeader].
	Timeout time.Duration
	// StallTimeout is how long an attempt may wait for the server at a stretch:
	// for the response's headers, not counting the time in which it waits for the
	// caller's request body or for a connection of the base's pool; and then for each
	// further piece of the body. So a body may take as long as Timeout lets it if only
	// it keeps coming. Default a third of Timeout where another attempt may follow.
	// Where none does, because the request may not be made again, the attempt is the
	// last one, or there is no PartRetry, the default is Timeout. Without PartTimeout,
	// it is 10s.
	//
	// The status 101 of an upgrade is under it as the headers of every response are; the
	// connection that it upgrades is not, however long it is quiet.
	StallTimeout time.Duration
	// DeadlineHeader is the name of the request header that carries the time left
	// to the request, in milliseconds, to the server. Where the request has it
	// already it is replaced. It must not be a field that means something else to
	// HTTP or to a Transport, such as Host or [AttemptHeader]. Default
	// [DeadlineHeader].
	DeadlineHeader string
	// Caller returns on whose behalf a request is made, for the server, which is told in
	// [CallerHeader]. It is given the request's context, once for each attempt, and may be
	// called by any number of goroutines. See [HashedCaller]; [stability.CallerOf] itself
	// tells the server the name, which may be personal data. "" and what is longer than 256
	// bytes or cannot be in a header field is not sent. Default nil: nobody is told.
	Caller func(context.Context) string

	// Retry configures how often and after which pauses a request is made again,
	// and the budget for that. Its Retryable and Classify must be nil: those of
	// this Config are asked. When its OnRetry is called, the response that another
	// attempt is made after has been closed; its status is in the error's text. A
	// Budget that it has is for all hosts together. Default a budget for each host, so
	// that one which is down does not use up the retries of the others.
	//
	// A request that is made while a server answers another one, in a context of
	// [net/http.Request.Context] there, waits for a pause that the next server asks for only
	// where it is no longer than MaxPushback, by default 2s. Past that, RoundTrip returns the
	// response, for the server to pass on.
	//
	// A caller sees the last response only. What the others said is gone with them: the
	// cookies that they set never reach http.Client.Jar, as those of a hedge's loser do not.
	// For a server that counts on the cookie of such an answer, say a 503, give a
	// Retryable that says no.
	Retry retry.Config
	// Retryable reports whether req may be made again after an attempt that ended
	// in resp or in err; the other one is nil. It is not asked where the request
	// has a body and no GetBody, where its context has ended, or where a gate
	// refused; then it is not made again. It must not read resp's body. Default
	// [Retryable].
	Retryable func(req *http.Request, resp *http.Response, err error) bool

	// Hedge configures when a request is sent a second time because the first is
	// slow: one that is idempotent, as [Retryable] has it, and has no body or a
	// GetBody. Both pass the gates; a status to retry after counts as having failed.
	// Without a Delay, what is slow is measured for each host by itself. The time counts
	// from when a request was sent: a wait for a quota, a token, a permit, or a
	// connection of the base's pool is not in it. A [net/http/httptrace.ClientTrace] of
	// the request sees what becomes of both. Its Budget,
	// where it has none, is that of Retry. Its Classify, Key and Keys must be left
	// out. Default nil: no request is hedged.
	Hedge *hedge.Config

	// RateLimit configures the rate limit of each host, of which every attempt takes
	// a token. Default none: with a Rate of 0 there is no limit.
	RateLimit ratelimit.Config
	// Bulkhead configures the bulkhead of each host. Default a Limit of 100 and,
	// where neither Queue nor MaxWait is given, a Queue of ten times as many and a MaxWait
	// of a second or, if that is shorter, StallTimeout: there is always a queue, and a
	// burst that the host works off in that time is not refused.
	//
	// Where the base is an [http.Transport] with a MaxConnsPerHost, that is the default
	// Limit, with a Queue of at least 100 and no MaxWait but the deadline. NewTransport
	// panics where the Limit is larger: what has a permit would wait for a connection.
	// A base whose Protocols name HTTP/2, which needs no connection for each request, is
	// an exception.
	Bulkhead bulkhead.Config
	// Upgrades configures the bulkhead that is in the place of Bulkhead for requests that
	// ask for an upgrade of their connection, to a WebSocket for instance. Such a
	// connection holds its permit until it is closed, and would otherwise take one from
	// the requests that come after. It is the one bound on what a server can hold that
	// upgrades connections and then says nothing: no time limit does, because some protocols
	// are quiet from their start. Default a Limit of 1000, without a Queue.
	Upgrades bulkhead.Config
	// Breaker configures the breaker of each host. A call ends for it with the headers
	// of the response: a probe has succeeded or failed then, and SlowCall times how long
	// they took, the upload of the request's body included. A response that was no
	// failure and whose body breaks later counts as a failure instead. Default its own
	// defaults, but with a ProbeFor that is not shorter than Timeout, or without one
	// StallTimeout. One shorter than StallTimeout is refused: it would give up as
	// failed a probe that is answered in time. A request that is never made again may
	// take until Timeout. Where headers take longer than the Window when all is
	// well, and failures come at once, see [breaker.Config] there.
	Breaker breaker.Config
	// Classify judges how an attempt ended for breakers and figures. It is asked as
	// soon as the headers have come, with the resp and a nil err, and decides about
	// overload too: an answer that only asks for less is to be Ignored. It is asked with
	// an err and a nil resp where no headers came, and once more, with both, where a
	// body broke. It is not asked about requests that were refused, that the caller
	// canceled or made wrong, or that did not return; the latter are failures, the
	// others are ignored. It must not read resp's body. Default [Classify].
	Classify func(resp *http.Response, err error) stability.Outcome

	// Key returns what the gates of a request are kept by, the budget of its retries
	// and the latencies of its hedges. Default [HostPort].
	Key func(req *http.Request) string
	// Keys bounds what is kept.
	Keys stability.Keys

	// MeterProvider provides the instruments of the parts that have none of their
	// own. Default the global one of OpenTelemetry.
	MeterProvider metric.MeterProvider
	// Logger logs changes of the breakers, where Breaker has none. Default nil:
	// nothing is logged.
	Logger *slog.Logger
}

func (c TransportConfig) on(p Part) bool { return c.Off&p == 0 }

// Validate reports the first field that is not usable, or the first two that
// contradict each other, as the error that [NewTransport] panics with.
func (c TransportConfig) Validate() error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("stabilityhttp: TransportConfig.%w", err)
	}
	return nil
}

func (c TransportConfig) validate() error {
	if c.Off&^allParts != 0 {
		return errors.New("Off has a part that does not exist")
	}
	for _, field := range []struct {
		name       string
		part       Part
		partName   string
		configured bool
	}{
		{"Timeout", PartTimeout, "PartTimeout", c.Timeout != 0},
		{"StallTimeout", PartStallTimeout, "PartStallTimeout", c.StallTimeout != 0},
		{"DeadlineHeader", PartDeadlineHeader, "PartDeadlineHeader", c.DeadlineHeader != ""},
		{"Retry", PartRetry, "PartRetry", !reflect.ValueOf(c.Retry).IsZero()},
		{"Retryable", PartRetry, "PartRetry", c.Retryable != nil},
		{"Bulkhead", PartBulkhead, "PartBulkhead", !reflect.ValueOf(c.Bulkhead).IsZero()},
		{"Upgrades", PartBulkhead, "PartBulkhead", !reflect.ValueOf(c.Upgrades).IsZero()},
		{"Breaker", PartBreaker, "PartBreaker", !reflect.ValueOf(c.Breaker).IsZero()},
	} {
		if field.configured && !c.on(field.part) {
			return fmt.Errorf("%s is configured and Off has %s: drop one of them", field.name, field.partName)
		}
	}
	switch {
	case c.Timeout < 0:
		return errors.New("Timeout must not be negative: use Off for none")
	case c.StallTimeout < 0:
		return errors.New("StallTimeout must not be negative: use Off for none")
	case !isToken(c.DeadlineHeader):
		return errors.New("DeadlineHeader must be the name of a header field")
	case isTaken(c.DeadlineHeader):
		return fmt.Errorf("DeadlineHeader must not be %q, which says something else: choose another name", c.DeadlineHeader)
	case c.Retry.Retryable != nil:
		return errors.New("Retry.Retryable is not asked: set TransportConfig.Retryable")
	case c.Retry.Classify != nil:
		return errors.New("Retry.Classify is not asked: set TransportConfig.Classify")
	case c.Hedge != nil && c.Hedge.Classify != nil:
		return errors.New("Hedge.Classify is not asked: set TransportConfig.Classify")
	case c.Hedge != nil && c.Hedge.Key != nil:
		return errors.New("Hedge.Key is not asked: set TransportConfig.Key")
	case c.Hedge != nil && c.Hedge.Keys != stability.Keys{}:
		return errors.New("Hedge.Keys is not asked: set TransportConfig.Keys")
	case c.RateLimit.Classify != nil:
		return errors.New("RateLimit.Classify is not asked: set TransportConfig.Classify")
	case c.Bulkhead.Classify != nil:
		return errors.New("Bulkhead.Classify is not asked: set TransportConfig.Classify")
	case c.Upgrades.Classify != nil:
		return errors.New("Upgrades.Classify is not asked: set TransportConfig.Classify")
	case c.Breaker.Classify != nil:
		return errors.New("Breaker.Classify is not asked: set TransportConfig.Classify")
	}
	if err := c.Keys.Validate(); err != nil {
		return err
	}
	if c.Hedge != nil {
		if err := c.Hedge.Validate(); err != nil {
			return fmt.Errorf("Hedge: %w", err)
		}
	}
	if !reflect.ValueOf(c.RateLimit).IsZero() {
		if err := c.RateLimit.Validate(); err != nil {
			return fmt.Errorf("RateLimit: %w", err)
		}
	}
	d := c.withDefaults()
	for _, part := range []struct {
		part Part
		name string
		err  error
	}{
		{PartRetry, "Retry", d.Retry.Validate()},
		{PartBulkhead, "Bulkhead", d.Bulkhead.Validate()},
		{PartBulkhead, "Upgrades", d.Upgrades.Validate()},
		{PartBreaker, "Breaker", d.Breaker.Validate()},
	} {
		if part.err != nil && c.on(part.part) {
			return fmt.Errorf("%s: %w", part.name, part.err)
		}
	}
	return d.contradiction()
}

// contradiction finds two fields of a config with its defaults of which one makes
// the other pointless.
func (c TransportConfig) contradiction() error {
	if c.on(PartTimeout) {
		for _, field := range []struct {
			name  string
			value time.Duration
		}{
			{"StallTimeout", c.StallTimeout},
			{"Retry.Base", c.Retry.Base},
			{"Hedge.Delay", c.hedge().Delay},
			{"Hedge.MinDelay", c.hedge().MinDelay},
			{"Hedge.MaxDelay", c.hedge().MaxDelay},
			{"RateLimit.MaxWait", c.RateLimit.MaxWait},
			{"Bulkhead.MaxWait", c.Bulkhead.MaxWait},
			{"Upgrades.MaxWait", c.Upgrades.MaxWait},
			{"Breaker.SlowCall", c.Breaker.SlowCall},
		} {
			if field.value > c.Timeout {
				return fmt.Errorf("%s (%v) is longer than Timeout (%v), which ends the request before: shorten it, or lengthen Timeout",
					field.name, field.value, c.Timeout)
			}
		}
	}
	if longest, name := c.longestWait(); c.on(PartBreaker) && c.Breaker.ProbeFor < longest {
		return fmt.Errorf("Breaker.ProbeFor (%v) is shorter than %s (%v), so that a probe which is answered in time is given up as failed: lengthen ProbeFor, or shorten %s",
			c.Breaker.ProbeFor, name, longest, name)
	}
	return nil
}

// longestWait returns how long a config with its defaults lets an attempt wait for
// the server at a stretch, and the field that says so; 0 where nothing bounds it.
func (c TransportConfig) longestWait() (time.Duration, string) {
	switch {
	case c.on(PartStallTimeout):
		return c.StallTimeout, "StallTimeout"
	case c.on(PartTimeout):
		return c.Timeout, "Timeout"
	}
	return 0, ""
}

const (
	// defaultLimit is the default of Bulkhead.Limit.
	defaultLimit = 100
	// queueShare is how many times Bulkhead.Limit the default of its Queue is.
	queueShare = 10
)

func (c TransportConfig) withDefaults() TransportConfig {
	orDefault(&c.Timeout, 30*time.Second)
	switch {
	case !c.on(PartTimeout):
		orDefault(&c.StallTimeout, 10*time.Second)
	case !c.on(PartRetry):
		orDefault(&c.StallTimeout, c.Timeout)
	default:
		orDefault(&c.StallTimeout, c.Timeout/3)
	}
	orDefault(&c.DeadlineHeader, DeadlineHeader)
	orDefault(&c.Bulkhead.Limit, defaultLimit)
	if c.Bulkhead.Limit > 0 && c.Bulkhead.Queue == 0 && c.Bulkhead.MaxWait == 0 {
		c.Bulkhead.Queue = queueShare * min(c.Bulkhead.Limit, math.MaxInt32/queueShare)
		c.Bulkhead.MaxWait = min(time.Second, c.StallTimeout)
	}
	probeFor, _ := c.longestWait()
	if c.on(PartTimeout) {
		probeFor = c.Timeout
	}
	orDefault(&c.Breaker.ProbeFor, max(30*time.Second, probeFor))
	if c.Retryable == nil {
		c.Retryable = Retryable
	}
	if c.Classify == nil {
		c.Classify = Classify
	}
	if c.Key == nil {
		c.Key = HostPort
	}
	c.Retry.Retryable, c.Retry.OnRetry = retryable, onRetry(c.Retry.OnRetry)
	orDefault(&c.Retry.Name, c.Name)
	orDefault(&c.RateLimit.Name, c.Name)
	orDefault(&c.Bulkhead.Name, c.Name)
	orDefault(&c.Upgrades.Name, strings.TrimSpace(c.Bulkhead.Name+" upgrades")) // which is another policy
	orDefault(&c.Upgrades.Limit, 1000)
	orDefault(&c.Breaker.Name, c.Name)
	orDefault(&c.Retry.MeterProvider, c.MeterProvider)
	orDefault(&c.RateLimit.MeterProvider, c.MeterProvider)
	orDefault(&c.Bulkhead.MeterProvider, c.MeterProvider)
	orDefault(&c.Upgrades.MeterProvider, c.Bulkhead.MeterProvider)
	orDefault(&c.Breaker.MeterProvider, c.MeterProvider)
	orDefault(&c.Breaker.Logger, c.Logger)
	return c
}

// hedge returns the configuration of the hedge with its defaults, the zero one where
// there is none.
func (c TransportConfig) hedge() hedge.Config {
	if c.Hedge == nil {
		return hedge.Config{}
	}
	h := *c.Hedge
	if h.Delay == 0 {
		h.Key, h.Keys = keyOf, c.Keys
	}
	orDefault(&h.Name, c.Name)
	orDefault(&h.Budget, c.Retry.Budget)
	orDefault(&h.MeterProvider, c.MeterProvider)
	return h
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// isToken reports whether name can be the name of a header field (RFC 9110, section
// 5.6.2). "" can, which is to be the default.
func isToken(name string) bool {
	for _, c := range []byte(name) {
		if !isAlpha(c) && !isDigit(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}

// isTaken reports whether a header field of that name has a meaning which a deadline
// in its place would destroy: it says where the request goes, how long it is or how
// to read it, it belongs to a single connection (RFC 9110, section 7.6.1), or it is
// ours already.
func isTaken(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case AttemptHeader, CriticalityHeader, CallerHeader,
		"Host", "Content-Length", "Content-Encoding", "Content-Type", "Accept-Encoding", "Expect", "Range",
		"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Authorization", "Proxy-Authorization", "Proxy-Authenticate", "Cookie", "Idempotency-Key", "X-Idempotency-Key":
		return true
	}
	return false
}

package stabilityhttp

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/crumplezone/stability/internal/onhold"
)

// poolLimit returns how many connections a base makes to a host at a time; 0: as many as
// it is asked for, or it is not known. HTTP/2 has many requests on one connection.
func poolLimit(base http.RoundTripper) int {
	t, ok := base.(*http.Transport)
	if !ok || t.Protocols != nil && (t.Protocols.HTTP2() || t.Protocols.UnencryptedHTTP2()) {
		return 0
	}
	return max(t.MaxConnsPerHost, 0)
}

// queues reports whether a request may wait for a connection in the base's pool, as far
// as that is known.
func queues(base http.RoundTripper) bool {
	t, ok := base.(*http.Transport)
	return !ok || t.MaxConnsPerHost > 0
}

// fit returns cfg with a bulkhead that fits the connections of the base, or the
// contradiction between the two.
func (c TransportConfig) fit(base http.RoundTripper) (TransportConfig, error) {
	n := poolLimit(base)
	if n == 0 || !c.on(PartBulkhead) {
		return c, nil
	}
	if c.Bulkhead.Limit > n {
		return c, fmt.Errorf("stabilityhttp: TransportConfig.Bulkhead.Limit (%d) is larger than MaxConnsPerHost of the base (%d), so that requests with a permit wait for a connection: lower Limit, or raise MaxConnsPerHost",
			c.Bulkhead.Limit, n)
	}
	if c.Bulkhead.Limit == 0 {
		c.Bulkhead.Limit = n
		if c.Bulkhead.Queue == 0 && c.Bulkhead.MaxWait == 0 {
			c.Bulkhead.Queue = max(n, defaultLimit) // to wait in for as long as net/http would
		}
	}
	return c, nil
}

// refusedByProxy reports whether err is what a proxy answered to the CONNECT of the
// request. It means no, and comes again whenever the proxy is asked. net/http makes an
// error of its reason phrase alone, which can be told only by that it is nothing else.
func (t *Transport) refusedByProxy(req *http.Request, err error) bool {
	base, ok := t.base.(*http.Transport)
	if !ok || base.Proxy == nil || req.URL.Scheme != "https" || reflect.TypeOf(err) != plainError || isEOF(err) || strings.HasPrefix(err.Error(), "http") {
		return false
	}
	proxy, err := base.Proxy(req)
	return err == nil && proxy != nil
}

var plainError = reflect.TypeOf(errors.New(""))

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// A queueing attempt may wait for a connection in the base's pool. Such a wait is no
// slowness of the host; how long it takes to make a connection is.
type queueing struct {
	a       *attempt
	waiting atomic.Bool
	hold    onhold.Wait // while waiting
}

// watch has the base tell when the attempt waits for a connection, beside whom it tells
// for the caller. What it returns is to be called when the base has returned.
func (a *attempt) watch() (over func() bool) {
	q := &queueing{a: a}
	a.clock.Context = httptrace.WithClientTrace(a.clock.Context, &httptrace.ClientTrace{
		GetConn:           func(string) { q.wait() },
		DNSStart:          func(httptrace.DNSStartInfo) { q.dial() },
		ConnectStart:      func(string, string) { q.dial() },
		TLSHandshakeStart: q.dial,
		GotConn:           func(httptrace.GotConnInfo) { q.connected() },
	})
	return q.over
}

// wait notes that the attempt waits for a connection.
func (q *queueing) wait() {
	if !q.waiting.Load() {
		q.a.clock.queue()
		q.hold = onhold.Begin(&q.a.clock)
		q.waiting.Store(true)
	}
}

// dial notes that a connection is being made for the attempt.
func (q *queueing) dial() {
	if q.over() {
		q.a.clock.send()
	}
}

// connected notes that the attempt has a connection, and is sent.
func (q *queueing) connected() {
	q.over()
	q.a.clock.send()
}

// over ends the wait, and reports whether there was one.
func (q *queueing) over() bool {
	if !q.waiting.Swap(false) {
		return false
	}
	q.hold.End()
	return true
}

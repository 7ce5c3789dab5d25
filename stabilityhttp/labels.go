package stabilityhttp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/crumplezone/stability"
)

// maxCaller is the longest caller in bytes that is sent or believed.
const maxCaller = 256

// HashedCaller returns a function for TransportConfig.Caller that tells the server a hash of
// [stability.CallerOf], with which it can tell callers apart and learns no name. The hash is an
// HMAC-SHA-256 under key, cut to 128 bits, in hexadecimal digits. All clients of a server need
// the same key. A name that is easy to guess is as easy to find by whoever has the key.
func HashedCaller(key []byte) func(context.Context) string {
	secret := strings.Clone(string(key))
	return func(ctx context.Context) string {
		caller := stability.CallerOf(ctx)
		if caller == "" {
			return ""
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(caller))
		return hex.EncodeToString(mac.Sum(nil)[:16])
	}
}

// label adds to a header what a call's context says of it.
func (t *Transport) label(ctx context.Context, header http.Header) {
	if c := stability.CriticalityOf(ctx); c != stability.Critical {
		header[CriticalityHeader] = []string{c.String()}
	}
	if t.cfg.Caller == nil {
		return
	}
	if caller := t.cfg.Caller(ctx); isCaller(caller) {
		header[CallerHeader] = []string{caller}
	}
}

// labelled returns the context with what a request says of itself.
func labelled(ctx context.Context, header http.Header) (_ context.Context, changed bool) {
	if c, ok := parseCriticality(header[CriticalityHeader]); ok {
		ctx, changed = stability.WithCriticality(ctx, c), true
	}
	if caller, ok := parseCaller(header[CallerHeader]); ok {
		ctx, changed = stability.WithCaller(ctx, caller), true
	}
	return ctx, changed
}

// parseCriticality reads the values of [CriticalityHeader]: the least critical of those that
// are one, since a proxy may have joined what several senders wrote.
func parseCriticality(values []string) (least stability.Criticality, ok bool) {
	for _, value := range values {
		if len(value) > maxCaller {
			continue
		}
		for value := range strings.SplitSeq(value, ",") {
			var c stability.Criticality
			if c.UnmarshalText([]byte(strings.Trim(value, " \t"))) == nil && (!ok || c < least) {
				least, ok = c, true
			}
		}
	}
	return least, ok
}

// parseCaller reads the values of [CallerHeader]. Two of them name nobody.
func parseCaller(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	caller := strings.Trim(values[0], " \t")
	return caller, isCaller(caller)
}

// isCaller reports whether a header field can say caller, and it is not too long.
func isCaller(caller string) bool {
	return caller != "" && len(caller) <= maxCaller && !hasControl(caller) && strings.Trim(caller, " ") == caller
}

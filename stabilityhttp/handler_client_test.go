package stabilityhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/stabilityhttp"
)

func TestClientIP(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:1234":              "192.0.2.1",
		"192.0.2.1:1":                 "192.0.2.1",
		"192.0.2.1":                   "192.0.2.1", // as a middleware that reads X-Forwarded-For leaves it
		"[2001:db8:1:2:3:4:5:6]:1234": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:99":   "2001:db8:1:2::/64",
		"2001:db8::1":                 "2001:db8::/64",
		"[2001:db8::1]":               "2001:db8::/64",
		"[::1]:80":                    "::/64",
		"[fe80::1%eth0]:1234":         "fe80::/64",
		"fe80::1%eth0":                "fe80::/64",
		"[fe80::1%" + strings.Repeat("x", 99) + "]:1": "fe80::/64",

		// A client of IPv4 is one client, however it comes.
		"[::ffff:192.0.2.1]:1234":                  "192.0.2.1",
		"[::ffff:0:203.0.113.9]:1":                 "203.0.113.9",
		"[64:ff9b::203.0.113.9]:1":                 "203.0.113.9",
		"[2002:cb00:7109:1:2:3:4:5]:1":             "203.0.113.9",
		"[2001:0:4136:e378:8000:63bf:34ff:8ef6]:1": "203.0.113.9",
		"[::ffff:0:203.0.113.9%eth0]:1":            "203.0.113.9",
		"[64:ff9b::10.0.0.1]:1":                    "64:ff9b::/64", // nobody's, or forged
		"[2002:7f00:1::1]:1":                       "2002:7f00:1::/64",
		"[2002:e000:1::1]:1":                       "2002:e000:1::/64",
		"[2002:ffff:ffff::1]:1":                    "2002:ffff:ffff::/64",
		"[64:ff9b:1::203.0.113.9]:1":               "64:ff9b:1::/64", // where it is in there, only that network knows
		"[2001:db8::ffff:203.0.113.9]:1":           "2001:db8::/64",

		// What is no address is one client.
		"@": "unknown", // a Unix socket
		"":  "unknown", "pipe": "unknown", "host:80": "unknown", ":80": "unknown", "[192.0.2.1]": "unknown",
		"192.0.2.1:99999": "unknown", "192.0.2": "unknown", strings.Repeat("1", 1<<20): "unknown", "[]": "unknown", "%": "unknown",
	} {
		require.Equal(t, want, stabilityhttp.ClientIP(&http.Request{RemoteAddr: addr}), addr)
	}
}

func TestClientIPBehind(t *testing.T) {
	for _, c := range []struct {
		proxies int
		lines   []string
		want    string
	}{
		{0, []string{"203.0.113.9"}, "192.0.2.1"},
		{1, []string{"203.0.113.9"}, "203.0.113.9"},
		{1, []string{"6.6.6.6, 203.0.113.9"}, "203.0.113.9"},
		{1, []string{"6.6.6.6", "203.0.113.9"}, "203.0.113.9"},
		{2, []string{"6.6.6.6, 203.0.113.9, 198.51.100.1"}, "203.0.113.9"},
		{2, []string{"6.6.6.6,203.0.113.9", "198.51.100.1"}, "203.0.113.9"},
		{2, []string{"6.6.6.6", "203.0.113.9", "198.51.100.1"}, "203.0.113.9"},
		{1, []string{" [2001:db8:1:2::9]:4711 "}, "2001:db8:1:2::/64"},
		{1, []string{"64:ff9b::203.0.113.9"}, "203.0.113.9"},
		{1, []string{"203.0.113.9:4711"}, "203.0.113.9"},
		{1, nil, "192.0.2.1"},
		{1, []string{""}, "192.0.2.1"},
		{1, []string{"6.6.6.6, unknown"}, "192.0.2.1"},
		{1, []string{"6.6.6.6,"}, "192.0.2.1"},
		{2, []string{"203.0.113.9"}, "192.0.2.1"},
		{3, []string{"203.0.113.9", "198.51.100.1"}, "192.0.2.1"},
	} {
		r := &http.Request{RemoteAddr: "192.0.2.1:80", Header: http.Header{"X-Forwarded-For": c.lines}}
		require.Equal(t, c.want, stabilityhttp.ClientIPBehind(c.proxies)(r), "%+v", c)
	}
	require.Panics(t, func() { stabilityhttp.ClientIPBehind(-1) })
}

func FuzzClientIP(f *testing.F) {
	for _, addr := range []string{"192.0.2.1:1", "[2001:db8::1]:1", "[fe80::1%eth0]:1", "2002:cb00:7109::1", "@", "[::ffff:1.2.3.4]"} {
		f.Add(addr, addr, "6.6.6.6, x", 2)
	}
	f.Fuzz(func(t *testing.T, remote, right, left string, proxies int) {
		if key := stabilityhttp.ClientIP(&http.Request{RemoteAddr: remote}); !isClientKey(key) {
			t.Fatalf("%q: %q", remote, key)
		}
		// What a client puts before what the proxies append changes nothing.
		behind := stabilityhttp.ClientIPBehind(proxies & 3)
		appended := strings.Repeat(","+right, max(proxies&3-1, 0))
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {right + appended}}}
		want := behind(r)
		if !isClientKey(want) {
			t.Fatalf("%q %q: %q", remote, right, want)
		}
		for _, lines := range [][]string{{left + "," + right + appended}, {left, right + appended}} {
			r.Header["X-Forwarded-For"] = lines
			if key := behind(r); key != want {
				t.Fatalf("%q: %q and not %q", lines, key, want)
			}
		}
	})
}

// isClientKey reports whether key is the canonical text of an address of IPv4, or of the
// /64 of one of IPv6, or that of no address.
func isClientKey(key string) bool {
	if ip, err := netip.ParseAddr(key); err == nil {
		return ip.Is4() && ip.String() == key
	}
	if prefix, err := netip.ParsePrefix(key); err == nil {
		return prefix.Bits() == 64 && prefix.Masked().String() == key && !prefix.Addr().Is4In6()
	}
	return key == "unknown"
}

// One request from each address of a single /48, ten thousand in a moment, filled the
// members of the README's own rate limit. From then on every other client of the server
// shared what was kept for those past its bound, and got 429.
//
// Contract: 42
func TestOneNetworkFillsAGroup(t *testing.T) {
	limits := ratelimit.NewGroup(ratelimit.Config{Rate: 0.1, Burst: 1}, stability.Keys{Max: 10_000})
	guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{
		RateLimit:    limits,
		NetworkLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 10, Burst: 100}, stability.Keys{}),
	})
	send := func(addr string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = addr
		guarded.ServeHTTP(w, r)
		return w
	}
	served := 0
	for i := range 10_001 {
		w := send(fmt.Sprintf("[2001:db8:6:%x::1]:1", i))
		if w.Code == http.StatusNotFound {
			served++
			continue
		}
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, `"default-network";q=100;w=10`, w.Header().Get("RateLimit-Policy"))
		require.Contains(t, w.Body.String(), `"violated-policies":["default-network"]`)
	}
	require.GreaterOrEqual(t, served, 100)
	require.Less(t, served, 1000)
	for i := range 1000 {
		for _, addr := range []string{fmt.Sprintf("192.0.%d.%d:1", i/250, i%250), fmt.Sprintf("[2001:db9:%x::1]:1", i)} {
			require.Equal(t, http.StatusNotFound, send(addr).Code, "somebody else")
		}
	}
}

// Keys of other kinds than addresses of IPv6 have no network.
func TestNetworkLimitOfOtherKeys(t *testing.T) {
	limits := ratelimit.NewGroup(ratelimit.Config{Rate: 0.001, Burst: 1}, stability.Keys{})
	guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{NetworkLimit: limits, Client: byHeader})
	for key, want := range map[string]int{
		"alice": 404, "192.0.2.1": 404, "192.0.2.0/24": 404, "::ffff:192.0.2.1": 404, "2001:db8::/32": 404, "": 404,
		"2001:db8:1::/64": 429, "2001:db8:2::1": 429, "2001:db8:3::1%eth0": 429, "2001:db8:4::/48": 429,
	} {
		status := 0
		for range 2 {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-Client", key)
			guarded.ServeHTTP(w, r)
			require.Equal(t, w.Code == http.StatusTooManyRequests, w.Header().Get("RateLimit") != "", "what is served is the client's business")
			status = w.Code
			if status == http.StatusTooManyRequests {
				break
			}
		}
		require.Equal(t, want, status, key)
	}
}

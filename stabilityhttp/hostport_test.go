package stabilityhttp_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/stabilityhttp"
)

// One host had any number of keys, so that whoever chose the URLs chose a breaker, a
// bulkhead and a budget for each request: with zeros before the port, a dot at the end, a
// zone, another way to write an address, or letters that mean the same.
//
// Contract: 42
func TestHostPort(t *testing.T) {
	for want, all := range map[string][]string{
		"example.com:80": {
			"http://example.com", "http://Example.COM/path", "http://user@example.com", "http://example.com:", "http://example.com:80",
			"http://example.com.", "http://example.com:0080", "http://example.com.:000080", "https://example.com:80",
			"http://ｅｘａｍｐｌｅ.com", "http://exam\u00adple.com", "http://example。com", "http://example.com。",
		},
		"example.com:443":  {"https://example.com", "https://example.com:", "https://EXAMPLE.com.:0443"},
		"example.com:8080": {"http://example.com:8080", "http://example.com:08080"},
		"example.com:0":    {"http://example.com:0", "http://example.com:000"},
		"xn--bcher-kva.example:80": {
			"http://bücher.example", "http://BÜCHER.example", "http://b%C3%BCcher.example", "http://bu\u0308cher.example:080",
			"http://XN--BCHER-KVA.example", "http://xn--bcher-kva.example.",
		},
		"127.0.0.1:443": {
			"http://127.0.0.1:443/", "https://127.0.0.1", "https://127.0.0.1.", "https://[::ffff:127.0.0.1]",
			"https://[::FFFF:7f00:1]:0443", "https://[0:0:0:0:0:ffff:7f00:1]", "https://[::ffff:127.0.0.1%25eth0]",
		},
		"[::1]:80":           {"http://[::1]/", "http://[0:0::0:1]:80", "http://[0000::0001]:080", "http://[::1%25lo]", "http://[::1%2500001]"},
		"[2001:db8::a]:8443": {"https://[2001:db8::a]:8443/", "https://[2001:DB8:0::A]:08443/", "https://[2001:db8::a%25x]:8443"},
		"[fe80::1%eth0]:443": {"https://[fe80::1%25eth0]", "https://[FE80:0::1%25eth0]:443"},
		"[fe80::1%eth1]:443": {"https://[fe80::1%25eth1]"},
		"[fe80::1%2]:443":    {"https://[fe80::1%252]", "https://[fe80::1%25002]"},
	} {
		for _, in := range all {
			require.Equal(t, want, stabilityhttp.HostPort(newRequest(t, http.MethodGet, in, nil)), in)
		}
	}
}

// A name that is to be converted needs nothing that was made outside a bubble.
//
// Contract: 55
func TestHostPortInABubble(t *testing.T) {
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			require.Equal(t, "xn--bcher-kva.example:80", stabilityhttp.HostPort(newRequest(t, http.MethodGet, "http://bücher.example", nil)))
		})
	}
}

// A name has the key under which net/http dials it, unless net/http cannot convert it.
func FuzzHostPortIsDialed(f *testing.F) {
	for _, name := range []string{"example.com", "bücher.example", "ｅｘａｍｐｌｅ.com", "İ.test", "ß", "faß.example", "ü..", "xn--a", "a\u00adb", "日本語。jp", "\u200d"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || strings.ContainsAny(name, ":[]%/?#@. \\") || strings.ContainsFunc(name, unicode.IsControl) {
			return // other rules than those of names, see FuzzHostPort
		}
		dialed := ""
		base := &http.Transport{DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			dialed = addr
			return nil, errors.New("not dialed")
		}}
		req := &http.Request{URL: &url.URL{Scheme: "http", Host: name + ":1"}, Header: http.Header{}}
		_, err := base.RoundTrip(req) //nolint:bodyclose // There is none.
		require.Error(t, err)
		key := stabilityhttp.HostPort(req)
		if dialed != "" && !strings.ContainsFunc(dialed, func(r rune) bool { return r > unicode.MaxASCII }) && !strings.Contains(dialed, ".:") {
			require.Equal(t, strings.ToLower(dialed), key)
		}
	})
}

func FuzzHostPort(f *testing.F) {
	for _, host := range []string{
		"example.com", "EXAMPLE.com:80", "[::1]", "[::1]:1", ":", "]:", "a:b:c", "example.com.:0080", "[fe80::1%00eth0]", "[::ffff:1.2.3.4%1]",
		"bücher.example", "ü..", "ü。.", "xn--bcher-kva", "a\u00adb", "İ", "ß:1", "\xff", "[::1%ü]",
	} {
		f.Add("https", host)
	}
	f.Fuzz(func(t *testing.T, scheme, host string) {
		if host == "" {
			return // not for a Transport
		}
		of := func(host string) string {
			return stabilityhttp.HostPort(&http.Request{URL: &url.URL{Scheme: scheme, Host: host}})
		}
		key := of(host)
		require.NotEmpty(t, key)
		require.NotRegexp(t, "[A-Z]", key)
		require.Equal(t, key, of(key), "a key is its own key")
		u := url.URL{Host: host}
		name, port := u.Hostname(), u.Port()
		if port != "" {
			require.Equal(t, key, of(strings.TrimSuffix(host, port)+"00"+port), "zeros before the port")
		}
		if !strings.ContainsAny(host, "[]") && !strings.Contains(name, ":") {
			colon := strings.TrimPrefix(host, name)
			require.Equal(t, key, of(name+"."+colon), "a dot at the end")
			require.Equal(t, key, of(upper(host)), "another case")
		}
	})
}

// upper returns s with the letters of ASCII in upper case.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

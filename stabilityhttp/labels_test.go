package stabilityhttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/stabilityhttp"
)

// heard is what a server behind a Handler learns of a call.
type heard struct {
	criticality stability.Criticality
	caller      string
	fields      [2]string
}

// hears serves with what it learned put into got.
func hears(got *heard, cfg stabilityhttp.HandlerConfig) http.Handler {
	return stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		*got = heard{
			stability.CriticalityOf(r.Context()), stability.CallerOf(r.Context()),
			[2]string{r.Header.Get(stabilityhttp.CriticalityHeader), r.Header.Get(stabilityhttp.CallerHeader)},
		}
	}), cfg)
}

func TestLabelsTravel(t *testing.T) {
	hash := stabilityhttp.HashedCaller([]byte("of the house"))
	ada := hash(stability.WithCaller(t.Context(), "ada"))
	require.Regexp(t, "^[0-9a-f]{32}$", ada)
	require.NotEqual(t, ada, hash(stability.WithCaller(t.Context(), "bob")))
	require.NotEqual(t, ada, stabilityhttp.HashedCaller(nil)(stability.WithCaller(t.Context(), "ada")))
	require.Empty(t, hash(t.Context()))

	plain := t.Context()
	both := stability.WithCaller(stability.WithCriticality(plain, stability.SheddablePlus), "ada")
	for name, c := range map[string]struct {
		ctx    context.Context
		caller func(context.Context) string
		edge   bool
		want   heard
	}{
		"no label":        {ctx: plain, caller: stability.CallerOf},
		"critical":        {ctx: stability.WithCriticality(plain, stability.Critical)},
		"critical plus":   {ctx: stability.WithCriticality(plain, stability.CriticalPlus), want: heard{criticality: 1, fields: [2]string{"critical-plus"}}},
		"nobody is told":  {ctx: both, want: heard{criticality: -1, fields: [2]string{"sheddable-plus"}}},
		"a name":          {ctx: both, caller: stability.CallerOf, want: heard{-1, "ada", [2]string{"sheddable-plus", "ada"}}},
		"a hash":          {ctx: both, caller: hash, want: heard{-1, ada, [2]string{"sheddable-plus", ada}}},
		"a line end":      {ctx: stability.WithCaller(plain, "a\r\nX: y"), caller: stability.CallerOf},
		"a long name":     {ctx: stability.WithCaller(plain, strings.Repeat("a", 257)), caller: stability.CallerOf},
		"over the border": {ctx: both, caller: stability.CallerOf, edge: true},
	} {
		t.Run(name, func(t *testing.T) {
			var got heard
			server := httptest.NewServer(hears(&got, stabilityhttp.HandlerConfig{Edge: c.edge}))
			defer server.Close()
			client := http.Client{Transport: stabilityhttp.NewTransport(nil, stabilityhttp.TransportConfig{Caller: c.caller})}
			defer client.CloseIdleConnections()
			req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, server.URL, nil)
			require.NoError(t, err)
			resp, err := do(&client, req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.want, got)
			require.Empty(t, req.Header, "the caller's own request is as it was")
		})
	}
}

// A third party that the server redirects to learns neither label.
//
// Contract: 27
func TestLabelsStayWithTheFirstHost(t *testing.T) {
	var got []http.Header
	rt := stabilityhttp.NewTransport(roundTripper(func(req *http.Request) (*http.Response, error) {
		got = append(got, req.Header)
		if req.URL.Host == "b.test" {
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		}
		return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {"http://b.test/"}}, Body: http.NoBody}, nil
	}), stabilityhttp.TransportConfig{Caller: stability.CallerOf})
	ctx := stability.WithCaller(stability.WithCriticality(t.Context(), stability.Sheddable), "ada")
	req := newRequest(t, http.MethodGet, "http://a.test/", nil).WithContext(ctx)
	resp, err := do(&http.Client{Transport: rt}, req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Len(t, got, 2)
	require.Equal(t, "sheddable", got[0].Get(stabilityhttp.CriticalityHeader))
	require.Equal(t, "ada", got[0].Get(stabilityhttp.CallerHeader))
	require.NotContains(t, got[1], stabilityhttp.CriticalityHeader)
	require.NotContains(t, got[1], stabilityhttp.CallerHeader)
}

// What a request says of itself is one of the four criticalities and a caller of a bounded
// length, or nothing; and never more critical than the least of what it says.
//
// Contract: 38
func FuzzLabels(f *testing.F) {
	f.Add("critical-plus", "sheddable", "ada", "")
	f.Add(" sheddable ,critical", "x,", strings.Repeat("a", 300), "a\nb")
	f.Add("", ",,,", " ", "\xff")
	f.Fuzz(func(t *testing.T, first, second, caller, other string) {
		hear := func(header http.Header) (got heard) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = header
			hears(&got, stabilityhttp.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), r)
			return got
		}
		const criticality, from = stabilityhttp.CriticalityHeader, stabilityhttp.CallerHeader
		one := hear(http.Header{criticality: {first}, from: {caller}})
		two := hear(http.Header{criticality: {first, second}, from: {caller, other}})
		_, err := one.criticality.MarshalText()
		require.NoError(t, err)
		require.LessOrEqual(t, len(one.caller), 256)
		require.NotContains(t, one.caller, "\n")
		require.Empty(t, two.caller)
		if one.criticality != stability.Critical {
			require.LessOrEqual(t, two.criticality, one.criticality)
		}
	})
}

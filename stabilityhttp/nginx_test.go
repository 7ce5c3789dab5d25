package stabilityhttp_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/ratelimit"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
	"github.com/crumplezone/stability/timeout"
)

// An nginx serves on loopback until it is stopped.
type nginx struct {
	url    string
	cmd    *exec.Cmd
	log    string // path
	stderr bytes.Buffer
}

// startNginx runs nginx with those directives in its http block and those in its only
// server.
func startNginx(t *testing.T, directives, server string) *nginx {
	t.Helper()
	path := nginxPath(t)
	// nginx takes over a socket that listens already, as it does when its binary is
	// replaced: no port is guessed, and a request may come before nginx is up.
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	require.NoError(t, err)
	defer socket.Close()

	dir := t.TempDir()
	n := &nginx{url: "http://" + l.Addr().String(), log: filepath.Join(dir, "access.log")}
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `
user root; # or who runs the test, where that is somebody else
daemon off;
pid %[1]s/pid;
error_log stderr crit;
events {}
http {
	log_format line '$status $connection';
	access_log %[1]s/access.log line;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	%[2]s
	server {
		listen %[3]s;
		%[4]s
	}
}`, dir, directives, l.Addr(), server), 0o600))
	n.cmd = exec.CommandContext(context.Background(), path, "-p", dir, "-c", conf, "-e", "stderr") //nolint:gosec // Found on this machine.
	n.cmd.ExtraFiles = []*os.File{socket}
	n.cmd.Env = append(os.Environ(), "NGINX=3;")
	n.cmd.Stderr = &n.stderr
	require.NoError(t, n.cmd.Start())
	t.Cleanup(func() {
		if n.cmd.ProcessState == nil {
			_ = n.cmd.Process.Signal(syscall.SIGTERM) // so that it ends its worker
			_ = n.cmd.Wait()
		}
		if t.Failed() {
			t.Log("nginx:", n.stderr.String())
		}
	})
	return n
}

// nginxPath finds nginx. Without it the test is skipped, but not where CI is set: there
// it has to be.
func nginxPath(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("nginx is not installed, and CI is set: apt-get install nginx")
	}
	t.Skip("nginx is not installed: apt-get install nginx")
	return ""
}

// stop lets nginx finish and returns the statuses that it answered with, and on how many
// connections.
func (n *nginx) stop(t *testing.T) (statuses []string, connections int) {
	t.Helper()
	require.NoError(t, n.cmd.Process.Signal(syscall.SIGQUIT))
	require.NoError(t, n.cmd.Wait())
	log, err := os.ReadFile(n.log)
	require.NoError(t, err)
	var serials []string
	for line := range strings.Lines(string(log)) {
		var status, serial string
		_, err := fmt.Sscan(line, &status, &serial)
		require.NoError(t, err, line)
		statuses = append(statuses, status)
		serials = append(serials, serial)
	}
	slices.Sort(serials)
	return statuses, len(slices.Compact(serials))
}

// quickRetries is a config whose pauses a test can wait for.
var quickRetries = stabilityhttp.TransportConfig{
	Retry: retry.Config{Attempts: 3, Base: time.Millisecond, Max: 10 * time.Millisecond, Budget: retry.Unlimited()},
}

// The statuses of nginx's limit_req: 429 where it is told so, and 503 by default. Both
// say that the request was not processed only to those who know: of the two, a POST is
// made again after 429 alone. The answer is the server's in the end, and attempts share
// connections.
//
// Contract: 33, 39
func TestNginxLimits(t *testing.T) {
	for _, c := range []struct {
		status int
		method string
		want   []string
	}{
		{429, http.MethodGet, []string{"200", "429", "429", "429"}},
		{429, http.MethodPost, []string{"200", "429", "429", "429"}},
		{503, http.MethodGet, []string{"200", "503", "503", "503"}},
		{503, http.MethodPost, []string{"200", "503"}},
	} {
		t.Run(fmt.Sprint(c.method, c.status), func(t *testing.T) {
			n := startNginx(t,
				fmt.Sprintf(`limit_req_zone $binary_remote_addr zone=all:1m rate=1r/m; limit_req_status %d;`, c.status),
				`location / { limit_req zone=all; proxy_pass `+upstream(t, func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(w, "served")
				})+`; }`)
			client, rt := newClient(t, quickRetries)
			for _, want := range []int{http.StatusOK, c.status} {
				resp, err := do(client, newRequest(t, c.method, n.url, strings.NewReader("order")))
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, want, resp.StatusCode)
			}
			rt.CloseIdleConnections()
			statuses, connections := n.stop(t)
			require.Equal(t, c.want, statuses)
			require.Less(t, connections, len(statuses)) // one, but on a machine that is held up as a body is drained
		})
	}
}

// nginx says when to come back, and the client comes back then.
//
// Contract: 38
func TestNginxRetryAfter(t *testing.T) {
	n := startNginx(t, `limit_req_zone $binary_remote_addr zone=all:1m rate=1r/s; limit_req_status 429;`,
		`add_header Retry-After 1 always;
		location / { limit_req zone=all; proxy_pass `+upstream(t, func(http.ResponseWriter, *http.Request) {})+`; }`)
	client, rt := newClient(t, quickRetries)
	for range 2 {
		resp, _ := ask(t, client, n.url)
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	rt.CloseIdleConnections()
	statuses, connections := n.stop(t)
	require.Equal(t, []string{"200", "429", "200"}, statuses)
	require.Less(t, connections, len(statuses))
}

// An upstream behind nginx hangs. The client's attempts end in time; nginx sees each go
// (its 499), however late it comes to see it, and lets go of the upstream.
//
// Contract: 19, 40
func TestNginxClientClosedRequest(t *testing.T) {
	var hanging atomic.Int32
	n := startNginx(t, "", `location /well { return 200; } location / { proxy_pass `+upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		hanging.Add(1)
		defer hanging.Add(-1)
		<-r.Context().Done()
	})+`; }`)
	cfg := quickRetries
	cfg.StallTimeout = 100 * time.Millisecond
	client, rt := newClient(t, cfg)
	_, err := get(t, client, n.url)
	require.ErrorIs(t, err, timeout.ErrExceeded)
	require.ErrorIs(t, err, retry.ErrExhausted)

	// Without a time limit. nginx takes connections in turn: with this one's answer it has
	// seen those before.
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	resp, _ := ask(t, &http.Client{Transport: base}, n.url+"/well")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	for hanging.Load() > 0 {
		<-time.After(time.Millisecond) // for ever, unless nginx lets go
	}
	base.CloseIdleConnections()
	rt.CloseIdleConnections()
	statuses, _ := n.stop(t)
	// Three, but for those that a busy machine has not sent before their time was over.
	want := append(slices.Repeat([]string{"499"}, len(statuses)-1), "200")
	require.Equal(t, want, statuses)
	require.LessOrEqual(t, len(statuses), 4)
}

// nginx ends a connection after so many requests. The client takes a new one, and no
// request is lost or made twice.
//
// Contract: 33
func TestNginxKeepAlive(t *testing.T) {
	n := startNginx(t, `keepalive_requests 3;`, `location / { return 200 "served"; }`)
	client, rt := newClient(t, stabilityhttp.TransportConfig{})
	for range 20 {
		resp, body := ask(t, client, n.url)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, "served", body)
	}
	requireCalls(t, rt, n.url, stability.Calls{Succeeded: 20})
	rt.CloseIdleConnections()
	statuses, connections := n.stop(t)
	require.Len(t, statuses, 20)
	require.GreaterOrEqual(t, connections, 7)
	require.Less(t, connections, len(statuses))
}

// The upstream behind nginx breaks off. The client sees a body that is too short, and
// the breaker a failure, though the status was 200.
//
// Contract: 35
func TestNginxCutsABody(t *testing.T) {
	n := startNginx(t, "", `location / { proxy_pass `+rawUpstream(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
	})+`; }`)
	client, rt := newClient(t, quickRetries)
	resp, err := get(t, client, n.url)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "half", string(body))
	require.NoError(t, resp.Body.Close())
	requireCalls(t, rt, n.url, stability.Calls{Failed: 1})
}

// Our server behind nginx: the deadline gets through to it, and what it answers gets
// back. Its client is the one that nginx names.
//
// Contract: 38, 40
func TestHandlerBehindNginx(t *testing.T) {
	var left time.Duration
	guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if deadline, ok := r.Context().Deadline(); ok {
			left = time.Until(deadline)
		}
	}), stabilityhttp.HandlerConfig{
		RateLimit: ratelimit.NewGroup(ratelimit.Config{Rate: 1.0 / 3600, Burst: 1}, stability.Keys{}),
		Client:    func(r *http.Request) string { return r.Header.Get("X-Real-IP") },
	})
	s := httptest.NewServer(guarded)
	t.Cleanup(s.Close)
	n := startNginx(t, "", `location / { proxy_set_header X-Real-IP $remote_addr; proxy_pass `+s.URL+`; }`)
	cfg := quickRetries
	cfg.Timeout = time.Minute
	client, rt := newClient(t, cfg)

	resp, _ := ask(t, client, n.url)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Positive(t, left)
	require.LessOrEqual(t, left, time.Minute)
	require.Equal(t, `"default";r=0;t=3600`, resp.Header.Get("RateLimit"))

	// Another client behind the same address, which has not heard that.
	other, rtOther := newClient(t, cfg)
	resp, body := ask(t, other, n.url)
	requireProblem(t, resp, body, http.StatusTooManyRequests, "https://iana.org/assignments/http-problem-types#quota-exceeded")
	require.Regexp(t, `^36[0-6][0-9]$`, resp.Header.Get("Retry-After"))
	rt.CloseIdleConnections()
	rtOther.CloseIdleConnections()
	statuses, _ := n.stop(t)
	require.Equal(t, []string{"200", "429"}, statuses, "an hour does not fit into a minute: it was not tried again")
}

// An attacker sends one request whose time is over through a proxy that caches. Its
// refusal carried what a middleware said about the page, and nginx gave it to everybody
// for an hour.
//
// Contract: 38
func TestNginxCacheIsNotPoisoned(t *testing.T) {
	for name, value := range map[string]string{"Cache-Control": "public, max-age=3600", "X-Accel-Expires": "3600", "Expires": "Fri, 31 Dec 2038 23:59:59 GMT"} {
		t.Run(name, func(t *testing.T) {
			guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "page")
			}), stabilityhttp.HandlerConfig{})
			n := startNginx(t, `proxy_cache_path cache keys_zone=pages:1m;`, `location / { proxy_cache pages; proxy_pass `+
				upstream(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set(name, value)
					guarded.ServeHTTP(w, r)
				})+`; }`)
			client := &http.Client{Transport: &http.Transport{}}
			t.Cleanup(client.CloseIdleConnections)
			resp, body := ask(t, client, n.url, stabilityhttp.DeadlineHeader, "1")
			requireProblem(t, resp, body, http.StatusGatewayTimeout, "about:blank")
			resp, body = ask(t, client, n.url)
			require.Equal(t, http.StatusOK, resp.StatusCode, "another client, and not the attacker")
			require.Equal(t, "page", body)
			resp, _ = ask(t, client, n.url, stabilityhttp.DeadlineHeader, "1")
			require.Equal(t, http.StatusOK, resp.StatusCode, "the page is cached all the same")
		})
	}
}

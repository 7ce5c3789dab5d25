package stabilityhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/retry"
	"github.com/crumplezone/stability/stabilityhttp"
)

var protocols = []string{"HTTP/1.1", "HTTP/2.0"}

// listen serves h on loopback and returns its URL and a client of its own for it.
func listen(t testing.TB, protocol string, h http.Handler) (string, *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handlers that panic
	s.EnableHTTP2 = protocol == "HTTP/2.0"
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, s.Client()
}

// listenInMemory is listen in a bubble.
func listenInMemory(t testing.TB, protocol string, h http.Handler) (string, *http.Client) {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(protocol == "HTTP/1.1")
	p.SetUnencryptedHTTP2(protocol == "HTTP/2.0")
	m := serveInMemory(t, &http.Server{Handler: h, Protocols: &p, ErrorLog: log.New(io.Discard, "", 0)}) //nolint:gosec // Its clients are this test's.
	base := &http.Transport{DialContext: m.dial, Protocols: &p}
	t.Cleanup(base.CloseIdleConnections)
	return bubbleURL, &http.Client{Transport: base}
}

// ask sends a request with those header fields and returns the response, its body
// read.
func ask(t testing.TB, c *http.Client, url string, header ...string) (*http.Response, string) {
	t.Helper()
	resp, body, err := tryAsk(t.Context(), c, url, header...)
	require.NoError(t, err)
	return resp, body
}

func tryAsk(ctx context.Context, c *http.Client, url string, header ...string) (*http.Response, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header[header[i]] = []string{header[i+1]}
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

type problemBody struct {
	Type, Title, Detail string
	Status              int
	ViolatedPolicies    []string `json:"violated-policies"`
}

func requireProblem(t testing.TB, resp *http.Response, body string, status int, problemType string) problemBody {
	t.Helper()
	require.Equal(t, status, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	var p problemBody
	require.NoError(t, json.Unmarshal([]byte(body), &p), body)
	require.Equal(t, status, p.Status)
	require.Equal(t, problemType, p.Type)
	require.NotEmpty(t, p.Title)
	return p
}

// Contract: 40
func TestHandlerTakesUpTheDeadline(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			var left atomic.Pointer[time.Duration]
			guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					t.Error(r.Proto)
				}
				d, limited := r.Context().Deadline()
				if !limited {
					left.Store(nil)
					return
				}
				l := time.Until(d)
				left.Store(&l)
			}), stabilityhttp.HandlerConfig{})
			url, client := listen(t, protocol, guarded)

			for value, want := range map[string]time.Duration{
				"60000": time.Minute, " 60000 ": time.Minute, "90000, x, 60000,": time.Minute, "99999999999999999999": 365 * 24 * time.Hour,
			} {
				resp, _ := ask(t, client, url, stabilityhttp.DeadlineHeader, value)
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.NotNil(t, left.Load(), value)
				require.LessOrEqual(t, *left.Load(), want)
				require.Greater(t, *left.Load(), want-time.Minute)
			}
			for _, value := range []string{"", "soon", "1.5", "+1", ", ,", "0x10", "NaN"} {
				resp, _ := ask(t, client, url, stabilityhttp.DeadlineHeader, value)
				require.Equal(t, http.StatusOK, resp.StatusCode, value)
				require.Nil(t, left.Load(), "%q is as if it were not there", value)
			}
			before := guarded.Stats().Started()
			for _, value := range []string{"0", "-1", "-9999999999999999999999"} {
				resp, body := ask(t, client, url, stabilityhttp.DeadlineHeader, value)
				requireProblem(t, resp, body, http.StatusGatewayTimeout, "about:blank")
				require.Empty(t, resp.Header.Get("Retry-After"))
			}
			s := guarded.Stats()
			require.Equal(t, before, s.Started(), "no work was started")
			require.EqualValues(t, 3, s.Expired)
			require.EqualValues(t, 3, s.Rejected)
		})
	}
}

func TestHandlerMaxTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			<-r.Context().Done()
			_, _ = io.WriteString(w, time.Since(began).String())
		}), stabilityhttp.HandlerConfig{MaxTimeout: 10 * time.Second, DeadlineHeader: "x-patience"})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		for value, want := range map[string]string{"3000": "3s", "10001": "10s", "99999999999999": "10s", "": "10s", "?": "10s"} {
			_, body := ask(t, client, url, "X-Patience", value)
			require.Equal(t, want, body, value)
		}
		require.Equal(t, stability.Calls{Failed: 5}, guarded.Stats().Calls, "the time was over before the handler returned")
	})
}

// Work is not begun for a client that has hardly any time left for it, neither at once
// nor after it has waited. Nobody is told to come back, and the bulkhead is not taken
// for full because a client gave up.
//
// Contract: 40
func TestHandlerRefusesWhatCannotBeDoneInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 10})
		release := make(chan struct{})
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-release
		}), stabilityhttp.HandlerConfig{Bulkhead: limit, MinTimeout: 50 * time.Millisecond, SaturatedFor: time.Second})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		refused := func(header ...string) {
			t.Helper()
			resp, body := ask(t, client, url, header...)
			requireProblem(t, resp, body, http.StatusGatewayTimeout, "about:blank")
			require.Empty(t, resp.Header.Get("Retry-After"))
		}
		refused(stabilityhttp.DeadlineHeader, "49")
		require.Zero(t, limit.Stats().Started(), "it did not come so far")

		statuses := make(chan int)
		send := func(header ...string) {
			go func() {
				resp, _, err := tryAsk(t.Context(), client, url, header...)
				if err != nil {
					t.Error(err)
				}
				statuses <- resp.StatusCode
			}()
			synctest.Wait()
		}
		send()
		refused(stabilityhttp.DeadlineHeader, "100") // its time ends in the queue
		time.Sleep(time.Second)
		require.ErrorIs(t, guarded.Ready(), stabilityhttp.ErrSaturated, "whoever gives up, there has been no room for a second")

		send(stabilityhttp.DeadlineHeader, "100")
		require.Equal(t, 1, limit.Stats().Queued)
		time.Sleep(60 * time.Millisecond)
		close(release)
		require.ElementsMatch(t, []int{http.StatusOK, http.StatusGatewayTimeout}, []int{<-statuses, <-statuses}, "the other's turn came too late")
		synctest.Wait()
		require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Succeeded: 1, Rejected: 3}, Expired: 3}, guarded.Stats())
		require.Equal(t, stability.Calls{Succeeded: 1, Ignored: 1, Rejected: 1}, limit.Stats().Calls)
	})
	w := httptest.NewRecorder() // by default no more than what nothing gets done in, and never all there is
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set(stabilityhttp.DeadlineHeader, "4")
	stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{}).ServeHTTP(w, r)
	require.Equal(t, http.StatusGatewayTimeout, w.Code)
	synctest.Test(t, func(t *testing.T) {
		w := httptest.NewRecorder()
		stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{MaxTimeout: 2 * time.Millisecond}).
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, http.StatusNotFound, w.Code)
	})
}

// A client from far away gives its requests less time than the dependency takes. Twenty
// such requests a second opened the breaker towards the dependency, and 98 of a hundred
// others were refused. What a client asked for does not count against the dependency,
// neither where its deadline passes nor where the dependency refuses to begin for it;
// what this tier sets does.
//
// Contract: 6
func TestForeignDeadlines(t *testing.T) {
	for name, c := range map[string]struct {
		front, leaf stabilityhttp.HandlerConfig
		client      stabilityhttp.TransportConfig
		open        bool
	}{
		"taken up":             {},
		"the leaf refuses":     {leaf: stabilityhttp.HandlerConfig{MinTimeout: 20 * time.Millisecond}},
		"not taken up":         {front: stabilityhttp.HandlerConfig{Off: stabilityhttp.PartDeadlineHeader}},
		"at the edge":          {front: stabilityhttp.HandlerConfig{Edge: true, MaxTimeout: time.Second}},
		"a least time":         {front: stabilityhttp.HandlerConfig{MinTimeout: 50 * time.Millisecond}},
		"a bound of our own":   {front: stabilityhttp.HandlerConfig{Edge: true, MaxTimeout: 10 * time.Millisecond}, open: true},
		"and the leaf refuses": {front: stabilityhttp.HandlerConfig{Edge: true, MaxTimeout: 10 * time.Millisecond}, leaf: stabilityhttp.HandlerConfig{MinTimeout: 20 * time.Millisecond}, open: true},
		"a limit of our own":   {client: stabilityhttp.TransportConfig{Off: stabilityhttp.PartRetry, StallTimeout: 5 * time.Millisecond}, open: true},
		"and no other limit": {
			client: stabilityhttp.TransportConfig{Off: stabilityhttp.PartTimeout | stabilityhttp.PartStallTimeout}, open: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leaf := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					time.Sleep(30 * time.Millisecond)
				}), c.leaf)
				toLeaf := stabilityhttp.NewTransport(memoryUpstream(t, leaf.ServeHTTP), c.client)
				front := stabilityhttp.NewHandler(tier(t, &http.Client{Transport: toLeaf}), c.front)
				url, client := listenInMemory(t, "HTTP/1.1", front)
				for range 25 {
					_, _ = ask(t, client, url, stabilityhttp.DeadlineHeader, "10")
				}
				state := toLeaf.Gates("upstream.test:80").Breaker.State()
				if c.open {
					require.Equal(t, breaker.Open, state)
				} else {
					require.Equal(t, breaker.Closed, state)
					resp, _ := ask(t, client, url)
					require.Equal(t, http.StatusOK, resp.StatusCode)
				}
				time.Sleep(time.Second) // in which the leaf's handlers return
			})
		})
	}
}

// A handler that returns when its time is over has answered what net/http answers for
// it: the ResponseWriter is the server's own, and nobody knows what was written.
func TestHandlerThatSaysNothingInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}), stabilityhttp.HandlerConfig{MaxTimeout: time.Second})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		resp, body := ask(t, client, url)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Empty(t, body)
		require.Equal(t, stability.Calls{Failed: 1}, guarded.Stats().Calls)
	})
}

// The time that is left when a caller's request is sent reaches the handler, and what
// the handler calls, through a client and a server of ours each.
func TestDeadlineTravelsThroughTiers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leaf := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d, _ := r.Context().Deadline()
			_, _ = io.WriteString(w, time.Until(d).String())
		}), stabilityhttp.HandlerConfig{})
		toLeaf := &http.Client{Transport: stabilityhttp.NewTransport(memoryUpstream(t, leaf.ServeHTTP), gatesOnly)}
		middle := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			_, body, err := tryAsk(r.Context(), toLeaf, bubbleURL)
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, body)
		}), stabilityhttp.HandlerConfig{})
		toMiddle := &http.Client{Transport: stabilityhttp.NewTransport(memoryUpstream(t, middle.ServeHTTP), gatesOnly)}

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, body, err := tryAsk(ctx, toMiddle, bubbleURL)
		require.NoError(t, err)
		require.Equal(t, "4s", body)
	})
}

// Contract: 31
func TestHandlerTakesUpTheAttempt(t *testing.T) {
	inner := retry.New(retry.Config{Attempts: 3})
	guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls := 0
		_ = inner.Run(r.Context(), func(context.Context) error {
			calls++
			return errors.New("leaf is down")
		})
		_, _ = io.WriteString(w, strconv.Itoa(retry.Attempt(r.Context()))+" "+strconv.Itoa(calls))
	}), stabilityhttp.HandlerConfig{})
	url, client := listen(t, "HTTP/1.1", guarded)
	for value, want := range map[string]string{
		"1": "1 1", "3": "3 1", "99999999999999999999": "1000000 1",
		"": "0 3", "0": "0 3", "-1": "0 3", "one": "0 3",
	} {
		_, body := ask(t, client, url, stabilityhttp.AttemptHeader, value)
		require.Equal(t, want, body, value)
	}
}

// Contract: 40
func TestFullHandlerRefuses(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
				guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					time.Sleep(10 * time.Second)
				}), stabilityhttp.HandlerConfig{Bulkhead: limit})
				url, client := listenInMemory(t, protocol, guarded)

				statuses := make(chan int, 2)
				send := func(header ...string) {
					go func() {
						resp, _, err := tryAsk(t.Context(), client, url, header...)
						if err != nil {
							t.Error(err)
							return
						}
						statuses <- resp.StatusCode
					}()
					synctest.Wait()
				}
				send()
				send(stabilityhttp.DeadlineHeader, "3000")
				require.Equal(t, 1, limit.Stats().Queued)
				resp, body := ask(t, client, url)
				requireProblem(t, resp, body, http.StatusServiceUnavailable, "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity")
				require.Contains(t, []string{"1", "2"}, resp.Header.Get("Retry-After"), "not known, but at least a second")

				time.Sleep(3 * time.Second)
				require.Equal(t, http.StatusGatewayTimeout, <-statuses, "its deadline came before its turn")
				require.Zero(t, limit.Stats().Queued)
				send()
				time.Sleep(20 * time.Second)
				require.Equal(t, http.StatusOK, <-statuses)
				require.Equal(t, http.StatusOK, <-statuses)
				require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Succeeded: 2, Rejected: 2}, Expired: 1, Full: 1}, guarded.Stats())
			})
		})
	}
}

// The queue empties by one a second. Who gives it ten is let in, who gives it less
// than the queue can take is refused at once, and told how long it would have been.
func TestHandlerShedsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 100})
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(time.Second)
		}), stabilityhttp.HandlerConfig{Bulkhead: limit})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		for range 61 {
			go func() {
				if _, _, err := tryAsk(t.Context(), client, url); err != nil {
					t.Error(err)
				}
			}()
		}
		time.Sleep(20*time.Second + time.Second/2)
		require.Equal(t, 40, limit.Stats().Queued)
		began := time.Now()
		resp, _ := ask(t, client, url, stabilityhttp.DeadlineHeader, "10000")
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.Zero(t, time.Since(began))
		after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.Greater(t, after, 10)
		require.LessOrEqual(t, after, 41+21)
		resp, _ = ask(t, client, url, stabilityhttp.DeadlineHeader, "60000")
		require.Equal(t, http.StatusOK, resp.StatusCode)
	})
}

// Contract: 40
func TestAClientThatGoesAway(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
				release := make(chan struct{})
				guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					<-release // it does not return at once
				}), stabilityhttp.HandlerConfig{Bulkhead: limit})
				url, client := listenInMemory(t, protocol, guarded)

				send := func() context.CancelFunc {
					ctx, cancel := context.WithCancel(t.Context())
					go func() {
						if _, _, err := tryAsk(ctx, client, url); !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
					}()
					synctest.Wait()
					return cancel
				}
				leaveHandler, leaveQueue := send(), send()
				require.Equal(t, 1, limit.Stats().InUse)
				require.Equal(t, 1, limit.Stats().Queued)
				leaveQueue()
				synctest.Wait()
				require.Zero(t, limit.Stats().Queued)
				leaveHandler()
				synctest.Wait()
				require.Equal(t, 1, limit.Stats().InUse, "the work goes on")
				close(release)
				synctest.Wait()
				require.Zero(t, limit.Stats().InUse)
				require.Equal(t, stabilityhttp.HandlerStats{Calls: stability.Calls{Ignored: 1, Rejected: 1}, Left: 1}, guarded.Stats())
			})
		})
	}
}

func TestHandlerThatPanics(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			limit := bulkhead.New(bulkhead.Config{Limit: 1})
			panics := atomic.Pointer[any]{}
			guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				panic(*panics.Load())
			}), stabilityhttp.HandlerConfig{Bulkhead: limit})
			url, client := listen(t, protocol, guarded)
			for i, value := range []any{http.ErrAbortHandler, errors.New("a bug"), &struct{ int }{7}} {
				panics.Store(&value)
				_, _, err := tryAsk(t.Context(), client, url)
				require.Error(t, err, "the connection or the stream is broken off")

				func() {
					defer func() { require.Same(t, value, recover()) }()
					guarded.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
				}()
				require.Zero(t, limit.Stats().InUse)
				require.EqualValues(t, 2*(i+1), guarded.Stats().Failed)
			}
		})
	}
}

// The handler gets the server's own ResponseWriter, and the request as it is where
// there is nothing to add, as to a request that comes while few permits are in use.
func TestHandlerPassesOnWhatItGot(t *testing.T) {
	var (
		w, r = httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		gotW http.ResponseWriter
		gotR *http.Request
	)
	stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { gotW, gotR = w, r }),
		stabilityhttp.HandlerConfig{Bulkhead: bulkhead.New(bulkhead.Config{Limit: 8})}).ServeHTTP(w, r)
	require.Same(t, w, gotW)
	require.Same(t, r, gotR)
	require.Empty(t, w.Header())
}

func TestHijackAndFlushThroughAHandler(t *testing.T) {
	limit := bulkhead.New(bulkhead.Config{Limit: 1})
	mux := http.NewServeMux()
	mux.HandleFunc("/flush", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first,")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("second"))
		if err != nil || n != 6 {
			t.Error(n, err)
		}
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buf.Flush()
		line, _ := buf.ReadString('\n')
		_, _ = conn.Write([]byte(line))
	})
	guarded := stabilityhttp.NewHandler(mux, stabilityhttp.HandlerConfig{Bulkhead: limit, MaxTimeout: time.Minute})
	s := httptest.NewServer(guarded)
	defer s.Close()

	_, body := ask(t, s.Client(), s.URL+"/flush")
	require.Equal(t, "first,second", body)

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /hijack HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	echo, err := reader.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", echo)
	_, err = reader.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	for limit.Stats().InUse > 0 { // the handler's last steps after its answer
		runtime.Gosched()
	}
}

func TestRefusalOfHEADHasNoBody(t *testing.T) {
	guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{})
	url, client := listen(t, "HTTP/1.1", guarded)
	req := newRequest(t, http.MethodHead, url, nil)
	req.Header.Set(stabilityhttp.DeadlineHeader, "0")
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Empty(t, body)
}

// A refused upload is not read, and the connection is good for the next request or
// closed: the client sees the refusal in either case.
func TestRefusalOfAnUpload(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
			}), stabilityhttp.HandlerConfig{})
			url, client := listen(t, protocol, guarded)
			for _, size := range []int{1, 100 << 10} {
				for _, left := range []string{"0", "60000"} {
					req := newRequest(t, http.MethodPost, url, bytes.NewReader(make([]byte, size)))
					req.Header.Set(stabilityhttp.DeadlineHeader, left)
					resp, err := client.Do(req)
					require.NoError(t, err)
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					resp.Body.Close()
					if left == "0" {
						require.Equal(t, http.StatusGatewayTimeout, resp.StatusCode)
						continue
					}
					require.Equal(t, strconv.Itoa(size), string(body))
				}
			}
		})
	}
}

// A nil *Handler on DefaultServeMux called itself until the stack overflowed, and dropped
// the handler that it should guard.
//
// Contract: 54
func TestNilHandler(t *testing.T) {
	var none *stabilityhttp.Handler
	none.Drain()
	require.NoError(t, none.Ready())
	require.Zero(t, none.Stats())
	before := http.DefaultServeMux
	defer func() { http.DefaultServeMux = before }()
	for _, h := range []http.Handler{none, stabilityhttp.NewHandler(nil, stabilityhttp.HandlerConfig{}), none.Guard(nil)} {
		http.DefaultServeMux = http.NewServeMux()
		http.HandleFunc("/registered", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
		http.Handle("/", h)
		for path, want := range map[string]int{"/registered": http.StatusOK, "/other": http.StatusNotFound} {
			for _, outer := range []http.Handler{h, http.DefaultServeMux} {
				w := httptest.NewRecorder()
				outer.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				require.Equal(t, want, w.Code, path)
			}
		}
	}
	w := httptest.NewRecorder()
	none.Readiness().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusOK, w.Code)

	teapot := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	some := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{})
	for i, h := range []*stabilityhttp.Handler{none, some} {
		w = httptest.NewRecorder()
		h.Guard(teapot).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, http.StatusTeapot, w.Code)
		require.EqualValues(t, i, h.Stats().Succeeded)
	}
}

// Contract: 41
func TestHandlerConfig(t *testing.T) {
	limit := bulkhead.New(bulkhead.Config{Limit: 1})
	for _, cfg := range []stabilityhttp.HandlerConfig{
		{DeadlineHeader: "no token"},
		{DeadlineHeader: "host"},
		{Off: stabilityhttp.PartRetry},
		{Off: stabilityhttp.PartDeadlineHeader, DeadlineHeader: "X-Patience"},
		{MinTimeout: -1},
		{MinTimeout: time.Second, MaxTimeout: time.Second},
		{DeadlineHeader: stabilityhttp.AttemptHeader},
		{MaxTimeout: -1},
		{MaxTimeout: math.MinInt64},
		{SaturatedFor: -1, Bulkhead: limit},
		{SaturatedFor: time.Second},
	} {
		err := cfg.Validate()
		require.ErrorContains(t, err, "stabilityhttp: HandlerConfig.")
		require.PanicsWithError(t, err.Error(), func() { stabilityhttp.NewHandler(nil, cfg) })
	}
	require.EqualError(t, stabilityhttp.HandlerConfig{MinTimeout: -1, SaturatedFor: time.Second}.Validate(), `stabilityhttp: HandlerConfig.MinTimeout (-1ns) must not be negative
stabilityhttp: HandlerConfig.SaturatedFor (1s) needs a Bulkhead that can be full`)
	require.NoError(t, stabilityhttp.HandlerConfig{}.Validate())
	require.NoError(t, stabilityhttp.HandlerConfig{MaxTimeout: math.MaxInt64, SaturatedFor: math.MaxInt64, Bulkhead: limit}.Validate())
}

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := bulkhead.New(bulkhead.Config{Limit: 1, Queue: 1})
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(time.Second)
		}), stabilityhttp.HandlerConfig{Bulkhead: limit, SaturatedFor: 5 * time.Second})
		patient := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Bulkhead: limit})
		url, client := listenInMemory(t, "HTTP/1.1", guarded)
		readyURL, ready := listenInMemory(t, "HTTP/1.1", guarded.Readiness())

		// Three at a time, of which one is refused each time: never room.
		overload := func(d time.Duration) {
			until := time.Now().Add(d)
			var clients sync.WaitGroup
			for range 3 {
				clients.Go(func() {
					for time.Now().Before(until) {
						resp, _, err := tryAsk(t.Context(), client, url)
						if err != nil {
							t.Error(err)
							return
						}
						if resp.StatusCode != http.StatusOK {
							time.Sleep(300 * time.Millisecond)
						}
					}
				})
			}
			clients.Wait()
		}
		require.NoError(t, guarded.Ready())
		overload(3 * time.Second)
		require.NoError(t, guarded.Ready(), "not for long enough, and over")
		go overload(7 * time.Second)
		time.Sleep(4 * time.Second)
		require.NoError(t, guarded.Ready(), "not for long enough")
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, guarded.Ready(), stabilityhttp.ErrSaturated)
		require.NoError(t, patient.Ready(), "it was not asked to mind")
		resp, body := ask(t, ready, readyURL)
		p := requireProblem(t, resp, body, http.StatusServiceUnavailable, "about:blank")
		require.Contains(t, p.Detail, "saturated")
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		time.Sleep(5 * time.Second)
		require.NoError(t, guarded.Ready(), "the load is gone")
		resp, body = ask(t, ready, readyURL)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, "ready\n", body)

		guarded.Drain()
		require.ErrorIs(t, guarded.Ready(), stabilityhttp.ErrDraining)
		resp, body = ask(t, ready, readyURL)
		p = requireProblem(t, resp, body, http.StatusServiceUnavailable, "about:blank")
		require.Contains(t, p.Detail, "draining")
		resp, _ = ask(t, client, url)
		require.Equal(t, http.StatusOK, resp.StatusCode, "requests are served as before")
	})
}

// The load balancer that took the process out sends nothing, so that no request ends
// the saturation: looking is enough.
func TestReadinessComesBackWithoutTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := bulkhead.New(bulkhead.Config{Limit: 1})
		guarded := stabilityhttp.NewHandler(http.NotFoundHandler(), stabilityhttp.HandlerConfig{Bulkhead: limit, SaturatedFor: time.Second})
		pass, err := limit.Enter(t.Context())
		require.NoError(t, err)
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		time.Sleep(time.Second)
		require.ErrorIs(t, guarded.Ready(), stabilityhttp.ErrSaturated)
		require.NoError(t, pass.Done(nil))
		require.NoError(t, guarded.Ready())
	})
}

// Nobody asks while the bulkhead has room between two moments without.
func TestReadinessSeesRoomThatNobodyAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			time.Sleep(time.Second)
		}), stabilityhttp.HandlerConfig{Bulkhead: bulkhead.New(bulkhead.Config{Limit: 1}), SaturatedFor: 5 * time.Second})
		send := func() int {
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			return w.Code
		}
		for n := range 2 {
			go send()
			synctest.Wait()
			require.Equal(t, http.StatusServiceUnavailable, send())
			if n > 0 {
				require.NoError(t, guarded.Ready(), "it has been full for no time at all")
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// Requests of all kinds at the same time: quick and slow ones, handlers that panic,
// clients that leave, deadlines that pass. At rest everything is back, and each
// request was counted once.
//
// Contract: 40, 43
func TestHandlerHammer(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			const goroutines, each = 16, 40
			limit := bulkhead.New(bulkhead.Config{Limit: 4, Queue: 8, MaxWait: 20 * time.Millisecond})
			var started atomic.Int64
			guarded := stabilityhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				started.Add(1)
				switch rand.IntN(4) {
				case 0:
					panic(http.ErrAbortHandler)
				case 1:
					select {
					case <-r.Context().Done():
					case <-time.After(time.Millisecond):
					}
				}
				_, _ = io.WriteString(w, "done")
			}), stabilityhttp.HandlerConfig{Bulkhead: limit, SaturatedFor: time.Hour})
			var running atomic.Int64
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				running.Add(1)
				defer running.Add(-1)
				guarded.ServeHTTP(w, r)
			}))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.EnableHTTP2 = protocol == "HTTP/2.0"
			s.StartTLS()
			var wg sync.WaitGroup
			for range goroutines {
				wg.Go(func() {
					for range each {
						ctx, cancel := context.WithCancel(context.Background())
						if rand.IntN(4) == 0 {
							time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
						}
						resp, _, err := tryAsk(ctx, s.Client(), s.URL, stabilityhttp.DeadlineHeader, strconv.Itoa(rand.IntN(30)))
						if err == nil && resp.StatusCode != 200 && resp.StatusCode != 503 && resp.StatusCode != 504 {
							t.Error(resp.Status)
						}
						cancel()
					}
				})
			}
			wg.Wait()
			s.Close()
			for running.Load() > 0 { // Close does not wait for the streams of HTTP/2
				runtime.Gosched()
			}
			f, b := guarded.Stats(), limit.Stats()
			require.Zero(t, b.InUse)
			require.Zero(t, b.Queued)
			require.NoError(t, guarded.Ready())
			require.Equal(t, started.Load(), f.Started(), "%+v", f)
			require.Equal(t, f.Rejected, f.Expired+f.Full+f.Left, "%+v", f)
		})
	}
}

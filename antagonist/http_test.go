package antagonist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// get fetches a page whole.
func get(ctx context.Context, c *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := c.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// gets is a client that fetches a page from a server.
func gets(url string, errs *failures) func(*World) Client {
	return func(w *World) Client {
		client := &http.Client{Transport: w.Transport()}
		return func(ctx context.Context, _ *Request) error {
			err := get(ctx, client, url)
			if err != nil {
				errs.add(w, err)
			}
			return err
		}
	}
}

func hello(size int) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, strings.Repeat("x", size))
	})
}

// The model in front of a handler is the same as without HTTP: workers, queue,
// service time.
func TestHTTPServer(t *testing.T) {
	for _, size := range []int{5, 200_000} {
		errs := &failures{}
		r := Run(t, Scenario{
			For:     12 * sec,
			Load:    Load{{Rate: Steps(6*sec, 50, 150)}},
			Servers: []Server{{Name: "shop", Workers: 10, Service: Fixed(100 * ms), Queue: Queue{Max: 10}, Handler: hello(size)}},
			Client:  gets("http://shop/", errs),
		})
		equal(t, "good while there is room", r.sum(0, 5).Goodput() > 0.99, true)
		near(t, "good when there is not", float64(r.sum(7, 12).Good), 500, 0.02)
		near(t, "latency with a full queue", r.Seconds[9].P99.Seconds(), 0.2, 0.05)
		if len(errs.bySecond[9]) == 0 || errs.bySecond[9][0].Error() != "status 503" {
			t.Errorf("refused with %v", errs.bySecond[9])
		}
		equal(t, "attempts", r.Server("shop").Attempts, r.Offered)
		equal(t, "most in service", r.Server("shop").InService, 10)
	}
}

func TestHTTPFaults(t *testing.T) {
	const from, to = 3 * sec, 5 * sec
	for _, test := range []struct {
		name  string
		fault Fault
		is    func(error) bool
		check func(t *testing.T, r *Result)
	}{
		{"hang", Fault{Hang: true}, nil, func(t *testing.T, r *Result) { near(t, "longest", r.Percentile(100).Seconds(), 2, 0.02) }},
		{"slow", Fault{Slow: 4}, nil, func(t *testing.T, r *Result) {
			// The handler takes 10ms after the 20ms of service, and the fault
			// slows both.
			near(t, "median", r.Seconds[3].P50.Seconds(), 0.120, 0.02)
		}},
		{"fail", Fault{Fail: true}, func(err error) bool { return err.Error() == "status 500" }, nil},
		{"cut", Fault{Cut: true}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, nil},
		{"refuse", Fault{Refuse: true}, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }, func(t *testing.T, r *Result) {
			equal(t, "attempts while it refuses", r.Server("shop").Seconds[4].Attempts, 50)
		}},
		{"refuse some", Fault{Refuse: true, Share: 0.5}, nil, func(t *testing.T, r *Result) {
			if r.Good == r.Offered {
				t.Error("nothing was refused")
			}
		}},
		{"restart", Fault{Restart: true}, func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }, func(t *testing.T, r *Result) {
			equal(t, "lost in it, says the server", r.Server("shop").Failed > 0, true)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.fault.Server, test.fault.From, test.fault.To = "shop", from, to
			errs := &failures{}
			r := Run(t, Scenario{
				For:  9 * sec,
				Load: Load{{Rate: Constant(50), Arrivals: Paced}},
				Servers: []Server{{Name: "shop", Service: Fixed(20 * ms), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					time.Sleep(10 * ms)
					hello(100).ServeHTTP(rw, r)
				})}},
				Faults: []Fault{test.fault},
				Client: gets("http://shop/page", errs),
			})
			for second := range r.Seconds {
				got := errs.bySecond[second]
				if second == 4 && test.is != nil && (len(got) < 50 || !test.is(got[0])) {
					t.Errorf("second %d: got %d errors, %v", second, len(got), got[:min(len(got), 1)])
				}
				if (second < 3 || second > 5) && len(got) > 0 {
					t.Errorf("second %d: got %v outside of the fault", second, got[0])
				}
			}
			near(t, "median after", r.Seconds[7].P50.Seconds(), 0.030, 0.02)
			if test.check != nil {
				test.check(t, r)
			}
		})
	}
}

// Handlers call servers through the network too, as tiers do.
func TestHTTPTiers(t *testing.T) {
	errs := &failures{}
	r := Run(t, Scenario{
		For:  5 * sec,
		Load: Load{{Rate: Constant(40), Arrivals: Paced}},
		Servers: []Server{
			{Name: "web", Workers: 20, Service: Fixed(10 * ms), Handle: func(w *World) Client {
				client := &http.Client{Transport: w.Transport()}
				return func(ctx context.Context, _ *Request) error { return get(ctx, client, "http://db/rows") }
			}},
			{Name: "db", Workers: 20, Service: Fixed(40 * ms)},
		},
		Faults: []Fault{{Server: "db", From: 3 * sec, To: 5 * sec, Fail: true}},
		Client: gets("http://web/", errs),
	})
	near(t, "both", r.Seconds[1].P50.Seconds(), 0.050, 0.02)
	if len(errs.bySecond[4]) == 0 || errs.bySecond[4][0].Error() != "status 502" {
		t.Errorf("got %v", errs.bySecond[4])
	}
	near(t, "failed at web", float64(r.Server("web").Failed), 80, 0.05)
}

// A handler goes on when its client has gone, and the server counts the work as
// wasted.
func TestHTTPClientGoes(t *testing.T) {
	for _, cancels := range []bool{false, true} {
		errs := &failures{}
		r := Run(t, Scenario{
			For:     3 * sec,
			Load:    at(100*ms, 0, 10*ms, 20*ms),
			Servers: []Server{{Name: "shop", Workers: 1, Service: Fixed(200 * ms), Cancels: cancels, Handler: hello(1)}},
			Client:  gets("http://shop/", errs),
		})
		equal(t, "late", r.Late, 3)
		equal(t, fmt.Sprintf("wasted when it cancels is %v", cancels), r.Server("shop").Wasted, map[bool]int{false: 3}[cancels])
		if len(errs.bySecond[0]) != 3 || !errors.Is(errs.bySecond[0][0], context.DeadlineExceeded) {
			t.Errorf("got %v", errs.bySecond)
		}
	}
}

func TestWorldDial(t *testing.T) {
	var local, remote net.Addr
	r := Run(t, Scenario{
		For:     2 * sec,
		Load:    at(0, 0),
		Servers: []Server{{Name: "shop", Handler: hello(3)}},
		Client: func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				conn, err := w.Dial(ctx, "tcp", "shop:80")
				if err != nil {
					return err
				}
				defer func() { _ = conn.Close() }()
				local, remote = conn.LocalAddr(), conn.RemoteAddr()
				if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
					return err
				}
				answer, err := io.ReadAll(conn)
				if err == nil && !strings.HasSuffix(string(answer), "\r\n\r\nxxx") {
					err = fmt.Errorf("got %q", answer)
				}
				return err
			}
		},
	})
	equal(t, "good", r.Good, 1)
	equal(t, "addresses", fmt.Sprintf("%v %v %s", local, remote, remote.Network()), "client:80 shop:80 tcp")
}

// Package integrationpoints shows what a supplier's side of a socket can do to a
// program that trusts it.
package integrationpoints

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "integrationpoints",
	Title:   "Integration points",
	Story:   "A page shows a supplier's delivery times, and would do without. For half of the run each of the supplier's connections goes wrong in another way: it hangs, trickles, sends headers without end, is cut or reset.",
	Guard:   "a client with time limits and a breaker, and a page that does without",
	Want:    scene.Requirement{Text: "pages answered within two seconds while the supplier is sick", Unit: "%", AtLeast: 90},
	Plot:    scene.Plot{Title: "Pages answered within two seconds", Unit: "%", Bound: true},
	Program: program,
}

// The supplier is sick between these shares of the run.
const sickFrom, sickTo = 0.25, 0.75

// A shop is the server whose pages ask the supplier.
type shop struct {
	guarded  bool
	supplier string
	client   *http.Client
}

func program(s *scene.Stage) (m scene.Measured, err error) {
	addr, err := s.Listen(func(n int, c net.Conn) { supplier(s, n, c) })
	if err != nil {
		return m, err
	}
	p := &shop{guarded: s.Guarded, supplier: "http://" + addr, client: http.DefaultClient}
	if s.Guarded {
		p.client = guardedClient()
		defer p.client.CloseIdleConnections()
	}
	front, err := s.Serve(scene.Workers(16, p))
	if err != nil {
		return m, err
	}

	visitors := s.Visitors()
	pages := s.Play(scene.Load{Rate: 100, Patience: 2 * time.Second, Visit: func(ctx context.Context, _ int) error {
		_, err := scene.Fetch(ctx, visitors, front.URL)
		return err
	}})[0]
	sick := pages.Between(s.At(sickFrom), s.At(sickTo))
	m.Figure = sick.Percent()
	m.Series = s.PercentSeries(pages)
	m.Note("pages answered while the supplier was sick: %v", sick)
	return m, nil
}

// guardedClient gives the supplier a third of a second. After ten failures in a row
// it is not asked for a while.
func guardedClient() *http.Client {
	return stabilityhttp.NewClient(stabilityhttp.TransportConfig{
		Name:    "supplier",
		Timeout: 300 * time.Millisecond,
		Breaker: breaker.Config{Consecutive: 10, OpenFor: 250 * time.Millisecond, MaxOpenFor: 500 * time.Millisecond},
	})
}

func (p *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	delivery, err := p.delivery(r.Context())
	if err != nil {
		delivery = []byte("ask us") // The page is worth having without it.
	}
	fmt.Fprintf(w, "A fine lamp. Delivery: %s.", delivery)
}

func (p *shop) delivery(ctx context.Context) ([]byte, error) {
	if !p.guarded {
		return trusting(p.supplier)
	}
	return scene.Fetch(ctx, p.client, p.supplier)
}

// trusting believes that the supplier answers, and soon: http.DefaultClient has no
// time limit, and the call does not end when the visitor has left.
func trusting(url string) ([]byte, error) {
	return scene.Fetch(context.Background(), http.DefaultClient, url)
}

// supplier serves the n-th connection: well, or in one of the ways in which a
// socket can go wrong.
func supplier(s *scene.Stage, n int, c net.Conn) {
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
		if s.During(sickFrom, sickTo) {
			sick(s, n, c)
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1-2 weeks")
	}
}

func sick(s *scene.Stage, n int, c net.Conn) {
	switch n % 5 {
	case 0: // nothing, for ever
		s.Pause(time.Hour)
	case 1: // a body that comes byte by byte
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		for s.Pause(20 * time.Millisecond) {
			if _, err := fmt.Fprint(c, "."); err != nil {
				return
			}
		}
	case 2: // headers without end
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
		for i := 0; s.Pause(20 * time.Millisecond); i++ {
			if _, err := fmt.Fprintf(c, "X-Header-%d: %d\r\n", i, i); err != nil {
				return
			}
		}
	case 3: // less than was promised
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1-2")
	case 4: // a reset in place of an answer
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // Without it the close is an orderly one, and no harm is done.
		}
	}
}

// Package unbalancedcapacities shows a front that can ask for more than what is
// behind it can do.
package unbalancedcapacities

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/crumplezone/stability/bulkhead"
	"github.com/crumplezone/stability/examples/antipatterns/internal/scene"
	"github.com/crumplezone/stability/stabilityhttp"
)

// Scene is the anti-pattern, unguarded and guarded.
var Scene = scene.Scene{
	Name:    "unbalancedcapacities",
	Title:   "Unbalanced capacities",
	Story:   "A small scheduling service does what a large web front asks of it, which is little. On the day of a sale it is four times what the service can do. It works on everything in turn, and so on what nobody waits for any more.",
	Guard:   "a bulkhead in the service, and a deadline that travels with each request",
	Want:    scene.Requirement{Text: "appointments made in time during the sale, of what the service can do", Unit: "%", AtLeast: 60},
	Plot:    scene.Plot{Title: "Appointments made in time, a second"},
	Program: program,
}

const (
	workers  = 5
	work     = 50 * time.Millisecond
	capacity = 100 // a second: workers / work
	weekday  = 40
	sale     = 400
	saleFrom = 0.25
	patience = 700 * time.Millisecond // of the front
)

func program(s *scene.Stage) (m scene.Measured, err error) {
	var scheduling http.Handler = &service{workers: make(chan struct{}, workers)}
	front := s.Visitors()
	if s.Guarded {
		scheduling = guard(scheduling)
		front.Transport = deadlines(front.Transport)
	}
	backend, err := s.Serve(scheduling)
	if err != nil {
		return m, err
	}

	visit := func(ctx context.Context, _ int) error {
		_, err := scene.Fetch(ctx, front, backend.URL)
		return err
	}
	answers := s.Play(
		scene.Load{Rate: weekday, To: saleFrom, Patience: patience, Visit: visit},
		scene.Load{Rate: sale, From: saleFrom, Patience: patience, Visit: visit})
	m.Figure = 100 * float64(answers[1].Good()) / (capacity * (s.Length + patience - s.At(saleFrom)).Seconds())
	m.Series = s.RateSeries(append(answers[0], answers[1]...))
	m.Note("appointments made in time during the sale: %v", answers[1])
	return m, nil
}

// A service does one thing after the other with its workers, whether or not
// anybody waits for it.
type service struct{ workers chan struct{} }

func (b *service) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.workers <- struct{}{}
	defer func() { <-b.workers }()
	time.Sleep(work)
	fmt.Fprint(w, "Tuesday, at nine")
}

// guard lets in what can be done while its client waits, and answers the rest at
// once.
func guard(h http.Handler) http.Handler {
	return stabilityhttp.NewHandler(h, stabilityhttp.HandlerConfig{
		Name:     "scheduling",
		Bulkhead: bulkhead.New(bulkhead.Config{Name: "scheduling", Limit: workers, Queue: 4 * workers}),
	})
}

// deadlines tells the service how long its client waits. The other parts of the
// Transport are left out, since this scene is about the service.
func deadlines(base http.RoundTripper) http.RoundTripper {
	return stabilityhttp.NewTransport(base, stabilityhttp.TransportConfig{
		Name: "scheduling",
		Off: stabilityhttp.PartTimeout | stabilityhttp.PartStallTimeout | stabilityhttp.PartRetry |
			stabilityhttp.PartQuota | stabilityhttp.PartBulkhead | stabilityhttp.PartBreaker,
	})
}

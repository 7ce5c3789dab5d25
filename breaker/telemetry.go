package breaker

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/stripe"
	"github.com/crumplezone/stability/internal/telemetry"
)

const (
	keyState     = attribute.Key("stability.breaker.state")
	keyCause     = attribute.Key("stability.breaker.cause")
	keyError     = attribute.Key("stability.breaker.error.message")
	keySuccesses = attribute.Key("stability.breaker.successes")
	keyFailures  = attribute.Key("stability.breaker.failures")
	keySlow      = attribute.Key("stability.breaker.slow")
)

var states = [...]State{Closed, HalfOpen, Open}

// settings is what a breaker, or all members of a Group, share.
type settings struct {
	live  live.Value[Config] // with the defaults
	name  string
	sum   *totals // of a Group's members; nil outside a Group
	group *Group  // is reported for as long as somebody has a member
	meter *telemetry.Meter
	attrs metric.MeasurementOption
	calls *telemetry.Calls

	status      metric.Int64ObservableUpDownCounter
	transitions metric.Int64ObservableCounter
	observed    metric.Int64ObservableCounter
	inState     [len(states)]metric.MeasurementOption
}

// totals is what only grows. The members of a Group count into its sum too, so
// that nothing is lost with a member that is forgotten.
type totals struct {
	tally    telemetry.Tally
	observed stripe.Counter
	entered  [len(states)]atomic.Int64
}

func newSettings(cfg Config) *settings {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	s := &settings{
		name:        cfg.Name,
		meter:       m,
		attrs:       m.With(),
		calls:       m.Calls("_OTHER", "breaker_rejected"),
		status:      m.UpDownCounter("stability.breaker.status", "1", "1 for the state that the breaker is in, 0 for the others; of a group, how many of its breakers are in the state."),
		transitions: m.Counter("stability.breaker.transitions", "{transition}", "Changes to a state."),
		observed:    m.Counter("stability.breaker.observed_rejections", "{call}", "Calls that would have been refused, and were let through because the breaker only observes."),
	}
	s.live.Init(cfg.withDefaults())
	for _, state := range states {
		s.inState[state] = m.With(keyState.String(state.String()))
	}
	return s
}

// observe reports the totals and how many breakers are in each state.
func (s *settings) observe(o metric.Observer, t *totals, in [len(states)]int64) {
	s.calls.Observe(o, t.tally.Calls())
	o.ObserveInt64(s.observed, t.observed.Load(), s.attrs)
	for i := range states {
		o.ObserveInt64(s.status, in[i], s.inState[i])
		o.ObserveInt64(s.transitions, t.entered[i].Load(), s.inState[i])
	}
}

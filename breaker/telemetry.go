package breaker

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/telemetry"
)

const (
	keyState = attribute.Key("stability.breaker.state")
	keyCause = attribute.Key("stability.breaker.cause")
)

var states = [...]State{Closed, HalfOpen, Open}

// settings is what a breaker, or all members of a Group, share.
type settings struct {
	Config
	meter *telemetry.Meter
	attrs metric.MeasurementOption
	calls *telemetry.Calls

	status      metric.Int64ObservableUpDownCounter
	transitions metric.Int64ObservableCounter
	observed    metric.Int64ObservableCounter
	inState     [len(states)]metric.MeasurementOption
}

func newSettings(cfg Config) *settings {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	m := telemetry.NewMeter(cfg.MeterProvider, policy, cfg.Name)
	s := &settings{
		Config:      cfg.withDefaults(),
		meter:       m,
		attrs:       m.With(),
		calls:       m.Calls("_OTHER", "breaker_rejected"),
		status:      m.UpDownCounter("stability.breaker.status", "1", "1 for the state that the breaker is in, 0 for the others; of a group, how many of its breakers are in the state."),
		transitions: m.Counter("stability.breaker.transitions", "{transition}", "Changes to a state."),
		observed:    m.Counter("stability.breaker.observed_rejections", "{call}", "Calls that would have been refused, but for Config.Observe."),
	}
	for _, state := range states {
		s.inState[state] = m.With(keyState.String(state.String()))
	}
	return s
}

// figures is what a breaker, or a Group, is observed as.
type figures struct {
	calls            stability.Calls
	observed         int64
	inState, entered [len(states)]int64
}

func (f *figures) add(g figures) {
	f.calls = f.calls.Plus(g.calls)
	f.observed += g.observed
	for i := range states {
		f.inState[i] += g.inState[i]
		f.entered[i] += g.entered[i]
	}
}

func (b *Breaker) figures() figures {
	f := figures{calls: b.tally.Calls(), observed: b.observed.Load()}
	b.mu.Lock()
	defer b.mu.Unlock()
	f.inState[b.stay.Load().reads(time.Now())] = 1
	f.entered = b.entered
	return f
}

func (s *settings) observe(o metric.Observer, f figures) {
	s.calls.Observe(o, f.calls)
	o.ObserveInt64(s.observed, f.observed, s.attrs)
	for i := range states {
		o.ObserveInt64(s.status, f.inState[i], s.inState[i])
		o.ObserveInt64(s.transitions, f.entered[i], s.inState[i])
	}
}

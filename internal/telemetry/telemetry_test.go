package telemetry_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/telemetry"
)

// provider notes the callbacks that are registered with it.
type provider struct {
	noop.MeterProvider
	callback     metric.Callback
	unregistered chan struct{}
}

func (p *provider) Meter(string, ...metric.MeterOption) metric.Meter { return meter{p: p} }

type meter struct {
	noop.Meter
	p *provider
}

func (m meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.p.callback = f
	return registration{p: m.p}, nil
}

type registration struct {
	noop.Registration
	p *provider
}

func (r registration) Unregister() error {
	close(r.p.unregistered)
	return nil
}

type owner struct{ calls stability.Calls }

// A policy is read for as long as somebody has it. Its callback, which an SDK keeps,
// does not keep it, and goes with it.
//
// Contract: 43
func TestObservesUntilTheOwnerIsGone(t *testing.T) {
	p := &provider{unregistered: make(chan struct{})}
	read := 0
	func() {
		m := telemetry.NewMeter(p, "policy", "name")
		calls := m.Calls("failed", "refused")
		o := &owner{}
		telemetry.Observe(m, o, func(o *owner, to metric.Observer) {
			read++
			calls.Observe(to, o.calls)
		})
		require.NoError(t, p.callback(t.Context(), noop.Observer{}))
		require.Equal(t, 1, read)
		runtime.KeepAlive(o)
	}()
	runtime.GC()
	<-p.unregistered
	require.NoError(t, p.callback(t.Context(), noop.Observer{}))
	require.Equal(t, 1, read)
}

// A name that is no UTF-8 would make an exporter refuse all that there is.
func TestNameIsValid(t *testing.T) {
	m := telemetry.NewMeter(noop.NewMeterProvider(), "breaker", "caf\xe9")
	set := metric.NewObserveConfig([]metric.ObserveOption{m.With()}).Attributes()
	name, ok := set.Value(telemetry.KeyName)
	require.True(t, ok)
	require.Equal(t, "caf\uFFFD", name.AsString())
}

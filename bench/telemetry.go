package bench

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/breaker"
	"github.com/crumplezone/stability/timeout"
)

func telemetryBreaker() Row {
	return Row{
		Name: "telemetry, breaker",
		Note: "The same breaker without and with a MeterProvider of the OpenTelemetry SDK, which is collected every 100 ms. The peers have no metrics of their own: a counter of the SDK is what they would need at least.",
		Candidates: []Candidate{
			{Name: "stability, SDK on", How: "`MeterProvider` of the SDK.", Setup: func() Work {
				return collected(func(p metric.MeterProvider) Work { return running(breaker.New(breaker.Config{MeterProvider: p})) })
			}},
			{Name: "stability, SDK off", How: "The global provider, with no SDK installed.", Setup: func() Work {
				return running(breaker.New(breaker.Config{}))
			}},
			sdkCounter(),
			sdkHistogram(),
		},
	}
}

func telemetryStack() Row {
	five := func(p metric.MeterProvider) Work {
		return running(stability.Chain(append(four(p), timeout.New(timeout.Config{After: time.Minute, MeterProvider: p}))...))
	}
	return Row{
		Name: "telemetry, retry + breaker + limit + bulkhead + timeout",
		Note: "The same for the stack of five.",
		Candidates: []Candidate{
			{Name: "stability, SDK on", How: "`MeterProvider` of the SDK in each of the five.", Setup: func() Work { return collected(five) }},
			{Name: "stability, SDK off", How: "The global provider, with no SDK installed.", Setup: func() Work { return five(nil) }},
			sdkCounter(),
		},
	}
}

// collected is work whose metrics are collected while it goes on.
func collected(work func(metric.MeterProvider) Work) Work {
	reader := sdkmetric.NewPeriodicReader(discard{}, sdkmetric.WithInterval(100*time.Millisecond))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	w := work(provider)
	w.Close = func() { _ = provider.Shutdown(context.Background()) }
	return w
}

func sdkCounter() Candidate {
	return Candidate{Name: "one SDK counter", Kind: Primitive, How: "`Int64Counter.Add` with three prepared attributes.", Setup: func() Work {
		return collected(func(p metric.MeterProvider) Work {
			counter, err := p.Meter("bench").Int64Counter("calls")
			granted(err)
			ctx, attributes := context.Background(), threeAttributes()
			return each(func(_, n int) {
				for range n {
					counter.Add(ctx, 1, attributes)
				}
			})
		})
	}}
}

func sdkHistogram() Candidate {
	return Candidate{Name: "one SDK histogram", Kind: Primitive, How: "`Float64Histogram.Record` with three prepared attributes.", Setup: func() Work {
		return collected(func(p metric.MeterProvider) Work {
			histogram, err := p.Meter("bench").Float64Histogram("duration")
			granted(err)
			ctx, attributes := context.Background(), threeAttributes()
			return each(func(_, n int) {
				for range n {
					histogram.Record(ctx, 0.1, attributes)
				}
			})
		})
	}}
}

func threeAttributes() metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(
		attribute.String("policy", "breaker"), attribute.String("name", "payments"), attribute.String("outcome", "success"),
	))
}

// discard is an exporter that drops what it is given.
type discard struct{}

func (discard) Temporality(k sdkmetric.InstrumentKind) metricdata.Temporality {
	return sdkmetric.DefaultTemporalitySelector(k)
}

func (discard) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}

func (discard) Export(context.Context, *metricdata.ResourceMetrics) error { return nil }
func (discard) ForceFlush(context.Context) error                          { return nil }
func (discard) Shutdown(context.Context) error                            { return nil }

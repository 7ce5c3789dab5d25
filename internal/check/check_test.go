package check_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/check"
)

func TestProblems(t *testing.T) {
	p := check.Of("breaker: Config")
	p.If(false, "Window", 0, "must be longer")
	p.Add(nil)
	require.NoError(t, p.Err())

	other := errors.New("Keys.Max (-1) must not be negative")
	p.If(true, "MinCalls", -1, "must not be negative")
	p.Add(other)
	require.EqualError(t, p.Err(), "breaker: Config.MinCalls (-1) must not be negative\nKeys.Max (-1) must not be negative")
	require.ErrorIs(t, p.Err(), other)

	whole := check.Of("whole: Config")
	whole.In("whole: Config.", nil)
	whole.In("whole: Config.", p.Err())
	require.EqualError(t, whole.Err(), "whole: Config.breaker: Config.MinCalls (-1) must not be negative\nwhole: Config.Keys.Max (-1) must not be negative")
	require.ErrorIs(t, whole.Err(), other)
}

func TestGroup(t *testing.T) {
	require.NotPanics(t, func() { check.Group("breaker", nil, stability.Keys{}) })
	require.PanicsWithError(t, "breaker: Config.Probes (-1) must not be negative\nbreaker: Keys.Max (-2) must not be negative", func() {
		p := check.Of("breaker: Config")
		p.If(true, "Probes", -1, "must not be negative")
		check.Group("breaker", p.Err(), stability.Keys{Max: -2})
	})
}

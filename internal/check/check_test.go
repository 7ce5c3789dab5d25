package check_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

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
}

package fallback_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/fallback"
)

func TestModeOff(t *testing.T) {
	f := fallback.New(fallback.Config{})
	do := func() (int, *stability.Degraded, error) {
		return fallback.Do(t.Context(), f,
			func(context.Context) (int, error) { return 0, errors.New("down") },
			func(context.Context, error) (int, error) { return 7, nil })
	}
	v, degraded, err := do()
	require.NoError(t, err)
	require.NotNil(t, degraded)
	require.Equal(t, 7, v)
	require.NoError(t, f.SetMode(stability.ModeOff))
	_, degraded, err = do()
	require.EqualError(t, err, "down")
	require.Nil(t, degraded)
	require.Equal(t, stability.ModeOff, f.Stats().Mode)
	require.Error(t, f.SetMode(stability.ModeOpen))
	require.NoError(t, f.SetMode(stability.ModeOn))
	_, _, err = do()
	require.NoError(t, err)
	require.NoError(t, (*fallback.Fallback)(nil).SetMode(stability.ModeOff))
}

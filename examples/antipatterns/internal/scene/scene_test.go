package scene

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRequirement(t *testing.T) {
	least := Requirement{Text: "pages", Unit: "%", AtLeast: 90}
	require.Equal(t, "pages: at least 90 %", least.String())
	require.True(t, least.Met(90))
	require.False(t, least.Met(89.99))
	require.Equal(t, "89.9 %", least.Format(89.99), "not rounded to what would do")

	most := Requirement{Text: "rows", AtMost: 2}
	require.Equal(t, "rows: at most 2", most.String())
	require.True(t, most.Met(2))
	require.False(t, most.Met(2.01))
	require.Equal(t, "2.1", most.Format(2.01), "not rounded to what would do")
	require.Equal(t, "0", most.Format(0))
}

// The load does not wait for answers, and times count from when a visit was to be made.
func TestLoadIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var progress bytes.Buffer
		var open Gauge
		var watched []Point
		sc := Scene{Name: "x", Program: func(s *Stage) (m Measured, err error) {
			series := s.Watch(open.Now)
			answers := s.Play(
				Load{Rate: 10, Patience: 950 * time.Millisecond, Visit: func(ctx context.Context, n int) error {
					open.Add(1)
					defer open.Add(-1)
					<-ctx.Done()
					return ctx.Err()
				}},
				Load{Rate: 20, From: 0.5, To: 0.75, Visit: func(context.Context, int) error { return nil }})
			require.Len(t, answers[0], 20)
			for n, a := range answers[0] {
				require.Equal(t, time.Duration(n)*100*time.Millisecond, a.At)
				require.Equal(t, 950*time.Millisecond, a.Took)
				require.ErrorIs(t, a.Err, context.DeadlineExceeded)
			}
			require.Zero(t, answers[0].Percent())
			require.Len(t, answers[1], 10)
			require.Equal(t, s.At(0.5), answers[1][0].At)
			require.InDelta(t, 100, answers[1].Percent(), 0)
			require.Equal(t, "10 of 10", answers[1].String())
			require.Equal(t, 2, answers[1].Between(s.At(0.5), s.At(0.55)).Good())
			require.Len(t, s.PercentSeries(answers[1]), 5, "no point where there were no visits")
			rate := s.RateSeries(answers[1])
			require.Len(t, rate, 20)
			require.InDelta(t, 20, rate[10].Value, 0)
			require.Zero(t, rate[0].Value)
			watched = series()
			return m, nil
		}}
		_, err := sc.Play(t.Context(), Options{Length: 2 * time.Second, Progress: &progress}, false)
		require.NoError(t, err)
		require.InDelta(t, 10, open.Peak(), 0, "the load waits for answers")
		require.NotEmpty(t, watched)
		require.Regexp(t, `^  unguarded   1 s   asked for   1\d   good    \d   waiting +\d+\n  unguarded   2 s   `, progress.String())
	})
}

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sc := Scene{Name: "x", Program: func(s *Stage) (m Measured, err error) {
			require.Zero(t, s.Now(), "before the load")
			require.False(t, s.During(0.1, 1))
			var reached []time.Duration
			done := make(chan struct{})
			s.Go(func() {
				defer close(done)
				for _, share := range []float64{0, 0.25, 0.75} {
					require.True(t, s.Until(share))
					reached = append(reached, s.Now())
				}
				require.True(t, s.During(0.75, 0.8))
				require.False(t, s.During(0.8, 0.9))
			})
			s.Play(Load{Rate: 1, Visit: func(context.Context, int) error { return nil }})
			<-done
			require.Equal(t, []time.Duration{0, time.Second, 3 * time.Second}, reached)
			s.Go(func() {
				if s.Until(1000) || s.Pause(time.Hour) {
					t.Error("waited beyond the end")
				}
			})
			return m, nil
		}}
		_, err := sc.Play(t.Context(), Options{Length: 4 * time.Second}, true)
		require.NoError(t, err)
	})
}

// Whatever a program leaves behind ends with the run: servers, connections, handlers, goroutines, the database.
func TestEnd(t *testing.T) {
	var urls []string
	var file string
	boom := errors.New("boom")
	sc := Scene{Name: "left", Program: func(s *Stage) (m Measured, err error) {
		hung := make(chan struct{})
		srv, err := s.Serve(Workers(1, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(hung)
			<-r.Context().Done()
		})))
		require.NoError(t, err)
		addr, err := s.Listen(func(_ int, c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		require.NoError(t, err)
		urls = append(urls, srv.URL, "http://"+addr)
		db, err := s.DB(2, "CREATE TABLE t (x INTEGER)", "INSERT INTO t VALUES (7)")
		require.NoError(t, err)
		var seq, name string
		require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA database_list").Scan(&seq, &name, &file))
		for _, url := range urls { // both hang
			s.Go(func() { _, _ = Fetch(context.Background(), s.Visitors(), url) })
		}
		<-hung
		s.Go(func() { <-s.Context().Done() })
		return m, boom
	}}
	_, err := sc.Play(t.Context(), Options{}, false)
	require.ErrorIs(t, err, boom)
	require.EqualError(t, err, "left, unguarded: boom")
	for _, url := range urls {
		_, err := Fetch(t.Context(), http.DefaultClient, url)
		require.ErrorContains(t, err, "refused")
	}
	require.NotEmpty(t, file)
	require.NoFileExists(t, file)
}

// An end from outside is an error, whatever the program made of it.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	sc := Scene{Name: "x", Program: func(s *Stage) (Measured, error) {
		cancel()
		s.Play(Load{Rate: 1, Visit: func(context.Context, int) error { return nil }})
		return Measured{Figure: 1}, nil
	}}
	_, err := sc.Play(ctx, Options{Length: time.Hour}, true)
	require.ErrorIs(t, err, context.Canceled)
}

func TestFetch(t *testing.T) {
	sc := Scene{Name: "x", Program: func(s *Stage) (m Measured, err error) {
		srv, err := s.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write([]byte("here"))
		}))
		require.NoError(t, err)
		body, err := Fetch(t.Context(), s.Visitors(), srv.URL)
		require.NoError(t, err)
		require.Equal(t, "here", string(body))
		_, err = Fetch(t.Context(), s.Visitors(), srv.URL+"/away")
		require.ErrorContains(t, err, "404")
		_, err = Fetch(t.Context(), s.Visitors(), "\n")
		require.Error(t, err)
		_, err = s.DB(1, "NOT SQL")
		require.ErrorContains(t, err, "NOT SQL: ")
		return m, nil
	}}
	_, err := sc.Play(t.Context(), Options{}, true)
	require.NoError(t, err)
	_, err = Scene{Program: func(s *Stage) (m Measured, err error) {
		_, err = s.DB(1)
		return m, err
	}}.Play(t.Context(), Options{Postgres: "postgres://%"}, true)
	require.True(t, err != nil && strings.Contains(err.Error(), "parse"), "%v", err)
}

func TestGauge(t *testing.T) {
	var g Gauge
	g.Add(3)
	g.Add(-2)
	require.InDelta(t, 1, g.Now(), 0)
	require.InDelta(t, 3, g.Peak(), 0)
	g.Set(7)
	g.Set(2)
	require.InDelta(t, 2, g.Now(), 0)
	require.InDelta(t, 7, g.Peak(), 0)
}

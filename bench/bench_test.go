package bench

import (
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crumplezone/stability/bench/internal/loopback"
)

func TestMain(m *testing.M) {
	loopback.Serve()
	os.Exit(m.Run())
}

// BenchmarkRows runs every row as Go benchmarks: `make bench`, with -bench and -cpu to choose.
func BenchmarkRows(b *testing.B) {
	for _, row := range Rows() {
		for _, c := range row.Candidates {
			b.Run(row.Name+"/"+c.Name, func(b *testing.B) {
				work := c.Setup()
				if work.Close != nil {
					b.Cleanup(work.Close)
				}
				b.Run("serial", func(b *testing.B) {
					b.ReportAllocs()
					work.Do(0, b.N)
				})
				b.Run("parallel", func(b *testing.B) {
					b.ReportAllocs()
					b.SetParallelism(max(1, row.Crowd))
					var goroutines atomic.Int64
					b.RunParallel(func(pb *testing.PB) {
						goroutine := int(goroutines.Add(1))
						for pb.Next() {
							work.Do(goroutine, 1)
						}
					})
				})
			})
		}
	}
}

// Every candidate is there once, does its work, and every goal names candidates.
func TestRows(t *testing.T) {
	names := map[string]bool{}
	for _, row := range Rows() {
		t.Run(row.Name, func(t *testing.T) {
			require.False(t, names[row.Name], "two rows have one name")
			names[row.Name] = true
			candidates := map[string]bool{}
			for _, c := range row.Candidates {
				require.False(t, candidates[c.Name], "%s: two candidates have one name", c.Name)
				candidates[c.Name] = true
				require.NotEmpty(t, c.How, c.Name)
				work := c.Setup()
				work.Do(0, 1)
				work.Do(1, 20)
				if work.Close != nil {
					work.Close()
				}
			}
			require.Equal(t, Ours, row.Candidates[0].Kind)
			for _, goal := range row.Goals {
				require.Contains(t, candidates, goal.Against)
				if goal.Ours != "" {
					require.Contains(t, candidates, goal.Ours)
				}
			}
		})
	}
}

// On two cores there is less to be gained by using all.
func TestGoalOnAll(t *testing.T) {
	g := Goal{All: 1. / 15, AllOfTwo: 1. / 7}
	require.Equal(t, 1./7, g.OnAll(2))
	require.Equal(t, 1./15, g.OnAll(4))
	require.Equal(t, 0.5, Goal{All: 0.5}.OnAll(2))
}

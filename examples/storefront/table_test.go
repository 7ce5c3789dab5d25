package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTable(t *testing.T) {
	bare := sampleResult()
	bare.name, bare.changes, bare.backAt, bare.lag = "unprotected", nil, 0, 120*ms
	var b strings.Builder
	summarize(sampleOptions(), []result{bare, sampleResult()}, false).printTo(&b)
	require.Equal(t, `
                                                         unprotected       protected
The whole run
  pages asked for                                                 10              10
  good: complete within 1 s                                  70.00 %         70.00 %
  peak of goroutines                                             300             300
  peak of memory (heap objects and stacks)                    5.0 MB          5.0 MB
  peak of pages in the storefront                                  3               3
  latest request after its instant                            120 ms            3 ms
While recommendations hung
  pages asked for                                                  9               5
  good                                                       66.66 %         40.00 %
  good, of those that do not need recommendations            50.00 %         33.33 %
  good, but without recommendations                                2               1
  p50 from when the page was wanted                            20 ms          260 ms
  p99                                                            3 s             3 s
  max                                                            3 s             3 s
  calls that reached recommendations                               4               3
  … made after the breaker had opened                              –   1 of 1 probes
When recommendations were back
  until 99 of 100 pages were whole again                    not seen           2.0 s

The protected run did NOT hold.
  FAIL  pages that do not need recommendations, good while they hung: 33.33 % (at least 99.5 %)
  FAIL  all pages, good while they hung: 40.00 % (at least 95.0 %)
  ok    calls that reached recommendations after the breaker opened: 1 (only probes: at most 1)
The machine was busy with other things: a page was asked for up to 120 ms after its instant. The figures show that too.
`, b.String())
}

func TestShortDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                         "–",
		40 * time.Microsecond:     "0 ms",
		1234 * time.Microsecond:   "1.2 ms",
		9 * ms:                    "9 ms",
		271400 * time.Microsecond: "271 ms",
		999999 * time.Microsecond: "1000 ms",
		time.Second:               "1 s",
		2685 * ms:                 "2.69 s",
		90 * time.Second:          "90 s",
	} {
		require.Equal(t, want, short(d))
	}
}

// Command report runs the rows of package bench and writes BENCHMARKS.md. The
// candidates of a row take turns, so that what slows the machine down for a while
// slows all of them down.
//
//	go run ./bench/cmd/report              about seven minutes
//	go run ./bench/cmd/report -quick       a minute; the figures mean nothing
//	go run ./bench/cmd/report -row breaker only rows whose names contain it, to standard output
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/crumplezone/stability/bench"
	"github.com/crumplezone/stability/bench/internal/loopback"
)

func main() {
	loopback.Serve()
	quick := flag.Bool("quick", false, "run everything once and briefly; figures mean nothing, and go to standard output unless -o is given")
	row := flag.String("row", "", "measure only the rows whose names contain this, and print them")
	out := flag.String("o", "", "the file to write; - is standard output (default BENCHMARKS.md)")
	rounds := flag.Int("rounds", 8, "how often each candidate is measured")
	slice := flag.Duration("slice", 50*time.Millisecond, "for how long each time")
	flag.Parse()
	e := effort{*rounds, *slice}
	target := "BENCHMARKS.md"
	if *quick {
		e, target = effort{2, time.Millisecond}, "-"
	}
	if *row != "" {
		target = "-"
	}
	if *out != "" {
		target = *out
	}
	if err := write(target, measureAll(e, *row, *quick)); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// A session is all that is measured.
type session struct {
	effort  effort
	quick   bool
	partial bool // only some rows
	cores   int
	began   time.Time
	took    time.Duration

	rows   []result
	loads  []map[string]*loaded // by concurrencies
	curves []curve
	grants float64 // a second, of a limiter of a million
	bytes  float64 // of an idle key
}

func measureAll(e effort, only string, quick bool) *session {
	s := &session{effort: e, quick: quick, partial: only != "", cores: runtime.GOMAXPROCS(0), began: time.Now()}
	for _, row := range bench.Rows() {
		if strings.Contains(row.Name, only) {
			s.rows = append(s.rows, measure(row, e))
		}
	}
	if !s.partial {
		for _, concurrency := range concurrencies {
			s.loads = append(s.loads, load(concurrency, e))
		}
		s.curves = scale(e)
		s.grants = grants(40 * e.slice)
		s.bytes = bytesPerKey()
	}
	s.took = time.Since(s.began)
	return s
}

// write writes the page, and returns an error also where it has a goal that is not met and
// nobody says why.
func write(target string, s *session) error {
	var page bytes.Buffer
	unexplained := s.page(&page)
	var err error
	if target == "-" {
		_, err = os.Stdout.Write(page.Bytes())
	} else {
		err = os.WriteFile(target, page.Bytes(), 0o644)
	}
	return errors.Join(err, unexplained)
}

// Command instructions counts how many instructions a call through each hot path of
// the library takes, and compares that with the figures of bench/instructions.txt.
// Unlike a time, the count is the same on a busy machine. It needs valgrind.
//
//	go run ./bench/cmd/instructions           fails when a path has grown by more than a tenth,
//	                                          or takes more than it may beside its peer
//	go run ./bench/cmd/instructions -update   writes the figures
//
// The figures hold for the minor version of Go and the architecture that stand
// above them. With another one nothing is compared, which is said.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

const (
	// few and many are how many calls two runs of a path make; the difference of
	// their counts is that of the calls alone.
	few, many = 20_000, 120_000
	// slack is by how much a path may grow.
	slack = 0.10
	file  = "bench/instructions.txt"
)

func main() {
	update := flag.Bool("update", false, "write the figures to "+file)
	name := flag.String("path", "", "make calls on this path and end (what runs under valgrind)")
	calls := flag.Int("calls", 0, "how many calls to make on -path")
	flag.Parse()
	if *name != "" {
		run(*name, *calls)
		return
	}
	if err := check(*update); err != nil {
		fmt.Fprintln(os.Stderr, "instructions:", err)
		os.Exit(1)
	}
}

// run makes calls on a path. It is the process that is measured.
func run(name string, calls int) {
	for _, p := range paths {
		if p.name == name {
			call := p.setup()
			for range calls {
				call()
			}
			return
		}
	}
	panic("there is no path " + name)
}

// goMinor is the version of Go without its patch level.
func goMinor() string {
	return regexp.MustCompile(`^go\d+\.\d+`).FindString(runtime.Version())
}

// holdsFor says for which compiler figures are good.
func holdsFor() string { return goMinor() + " " + runtime.GOOS + "/" + runtime.GOARCH }

func check(update bool) error {
	if _, err := exec.LookPath("valgrind"); err != nil {
		return fmt.Errorf("valgrind is needed to count instructions: %w", err)
	}
	committed := map[string]float64{}
	if !update {
		heading, figures, err := read()
		if err != nil {
			return err
		}
		if heading != holdsFor() {
			fmt.Printf("NOT COMPARED: %s holds for %s, and this is %s. Run with -update on it and commit.\n", file, heading, holdsFor())
			return nil
		}
		committed = figures
	}
	counted, err := countAll()
	if err != nil {
		return err
	}
	if update {
		return write(counted)
	}
	var grown []string
	for _, p := range paths {
		if p.peer != "" && counted[p.name] > p.most*counted[p.peer] {
			grown = append(grown, fmt.Sprintf("%s: %.0f instructions a call, %.3f times those of %s, and at most %v is allowed",
				p.name, counted[p.name], counted[p.name]/counted[p.peer], p.peer, p.most))
		}
		was, known := committed[p.name]
		delete(committed, p.name)
		switch now := counted[p.name]; {
		case !known:
			grown = append(grown, fmt.Sprintf("%s: %.0f, and %s has no figure for it", p.name, now, file))
		case now > was*(1+slack):
			grown = append(grown, fmt.Sprintf("%s: %.0f instructions a call, %.0f committed", p.name, now, was))
		default:
			note := ""
			if now < was*(1-slack) {
				note = "  (shorter by more than a tenth: commit it with -update)"
			}
			fmt.Printf("%-46s %6.0f  committed %6.0f%s\n", p.name, now, was, note)
		}
	}
	for name := range committed {
		grown = append(grown, fmt.Sprintf("%s: in %s, but there is no such path", name, file))
	}
	if len(grown) > 0 {
		return errors.New("paths have grown; where that is meant, run with -update:\n\t" + strings.Join(grown, "\n\t"))
	}
	return nil
}

func countAll() (map[string]float64, error) {
	counted := map[string]float64{}
	for _, p := range paths {
		fewer := max(p.fewer, 1)
		few, many := few/fewer, many/fewer
		low, err := count(p.name, few)
		if err != nil {
			return nil, err
		}
		high, err := count(p.name, many)
		if err != nil {
			return nil, err
		}
		counted[p.name] = float64(high-low) / float64(many-few)
	}
	return counted, nil
}

var collected = regexp.MustCompile(`Collected : (\d+)`)

// count runs calls on a path under valgrind and returns the instructions of the
// whole process.
func count(name string, calls int) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	//nolint:gosec,noctx // It starts itself, and valgrind ends when that does.
	cmd := exec.Command("valgrind", "--tool=callgrind", "--callgrind-out-file="+os.DevNull, self, "-path", name, "-calls", strconv.Itoa(calls))
	// Not every valgrind knows the instruction RDTSCP.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1,cpu.rdtscp=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	found := collected.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("%s: valgrind says no count:\n%s", name, out)
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

// read returns for what the committed figures hold, and the figures by path.
func read() (heading string, figures map[string]float64, err error) {
	f, err := os.Open(filepath.FromSlash(file))
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	figures = map[string]float64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		name, number, isFigure := strings.Cut(line, "\t")
		switch {
		case strings.HasPrefix(line, "#"):
		case !isFigure:
			heading = line
		default:
			if figures[name], err = strconv.ParseFloat(number, 64); err != nil {
				return "", nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return heading, figures, nil
}

func write(counted map[string]float64) error {
	var text strings.Builder
	text.WriteString("# Instructions a call, counted by `make instructions`; written by its -update. They hold for\n")
	text.WriteString(holdsFor() + "\n")
	for _, p := range paths {
		fmt.Fprintf(&text, "%s\t%.0f\n", p.name, counted[p.name])
	}
	return os.WriteFile(filepath.FromSlash(file), []byte(text.String()), 0o644)
}

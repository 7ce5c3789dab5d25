package main

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// An outcome is how a test ended.
type outcome string

const (
	pass outcome = "passes"
	fail outcome = "fails"
	skip outcome = "skips"
	hang outcome = "hangs"                    // it did not end in its time
	died outcome = "dies"                     // the process ended in the midst of it
	leak outcome = "leaves something running" // the process was not content after it had passed
)

// A guard is what stands behind the doors of net/http.
type guard string

const (
	plain     guard = ""        // nothing: net/http as it is
	byDefault guard = "default" // a default Transport and a default Handler
	allOff    guard = "off"     // both with every part left out
)

// A run is what one process with one test had to say.
type run struct {
	outcomes map[string]outcome // of the test and its subtests
	took     time.Duration
	client   bool // a Transport was asked
	server   bool // a Handler was
	output   []byte
}

// do runs a test, with all of its subtests, in a process of its own.
func (b *binary) do(ctx context.Context, test string, g guard, limit time.Duration) (*run, error) {
	seen, err := os.MkdirTemp(filepath.Dir(b.path), "seen")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(seen) }()
	// The binary ends itself at the limit and says what it was about; it is killed
	// where it does not.
	ctx, cancel := context.WithTimeout(ctx, limit+20*time.Second)
	defer cancel()
	//nolint:gosec // It was just built, and says its tests itself.
	cmd := exec.CommandContext(ctx, b.path, "-test.run", "^"+regexp.QuoteMeta(test)+"$", "-test.v=test2json", "-test.timeout", limit.String())
	cmd.Dir = b.folder
	cmd.Env = append(os.Environ(), "STABILITY_GUARD="+string(g), "STABILITY_SEEN="+seen)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err = cmd.Run()
	r := &run{took: time.Since(began), output: out.Bytes(), client: exists(filepath.Join(seen, "client")), server: exists(filepath.Join(seen, "server"))}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return nil, err
	}
	r.outcomes = conclude(test, r.output, ending{content: err == nil, killed: ctx.Err() != nil})
	return r, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// The testing package opens its own lines with this byte, so that a test cannot print them.
var (
	ended    = regexp.MustCompile(`\x16 *--- (PASS|FAIL|SKIP): (\S+) \(`)
	timedOut = regexp.MustCompile(`(?m)^panic: test timed out after `)
	began    = regexp.MustCompile(`\x16=== RUN +(\S+)`)
)

// An ending is how a process ended.
type ending struct{ content, killed bool }

// conclude reads what a process with one test said, and how it ended.
func conclude(test string, output []byte, e ending) map[string]outcome {
	outcomes := map[string]outcome{}
	for _, line := range ended.FindAllSubmatch(output, -1) {
		outcomes[string(line[2])] = map[string]outcome{"PASS": pass, "FAIL": fail, "SKIP": skip}[string(line[1])]
	}
	last := died
	if e.killed || timedOut.Match(output) {
		last = hang
	}
	switch outcomes[test] {
	case "":
		// The subtests that have begun and not ended, and the test itself.
		for _, line := range began.FindAllSubmatch(output, -1) {
			if name := string(line[1]); outcomes[name] == "" {
				outcomes[name] = last
			}
		}
		outcomes[test] = last
	case pass, skip:
		if !e.content {
			outcomes[test] = leak
		}
	}
	return outcomes
}

// worse are the tests that were well in plain and are not in guarded. A test that has
// such a subtest is not named for it.
func worse(plain, guarded map[string]outcome) map[string]outcome {
	found := map[string]outcome{}
	for name, was := range plain {
		is, ran := guarded[name]
		if ran && is != was && (was == pass || was == skip && is != pass) {
			found[name] = is
		}
	}
	for name := range maps.Clone(found) {
		for parent := name; strings.Contains(parent, "/"); {
			parent = parent[:strings.LastIndex(parent, "/")]
			delete(found, parent)
		}
	}
	return found
}

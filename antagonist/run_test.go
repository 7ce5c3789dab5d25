package antagonist

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const scriptVariable = "ANTAGONIST_TEST_SCRIPT"

// scripts are tests that fail on purpose. They run in a process of their own,
// so that what a user sees can be looked at.
var scripts = map[string]func(t *testing.T){
	"broken": func(t *testing.T) {
		s := valid()
		s.Faults = []Fault{{Server: "db", From: 3 * sec, To: 5 * sec, Refuse: true}}
		s.Require = []Requirement{Goodput(0.99)}
		Compare(t, s, Variant{Name: "bare"}, Variant{Name: "bold", Require: []Requirement{NeverMoreThan(0, InFlight())}})
	},
	"invalid": func(t *testing.T) {
		s := valid()
		s.For = 0
		Run(t, s)
	},
	"nameless": func(t *testing.T) { Compare(t, valid(), Variant{}) },
	"twins":    func(t *testing.T) { Compare(t, valid(), Variant{Name: "a"}, Variant{Name: "a"}) },
	"none":     func(t *testing.T) { Compare(t, valid()) },
	"typo": func(t *testing.T) {
		s := valid()
		s.Client = calls("bd")
		Run(t, s)
	},
	"typo over HTTP": func(t *testing.T) {
		s := valid()
		s.Client = gets("http://bd/", &failures{})
		Run(t, s)
	},
	"call of a handler": func(t *testing.T) {
		s := valid()
		s.Servers[0].Handler = http.NotFoundHandler()
		Run(t, s)
	},
	"endless": func(t *testing.T) {
		s := valid()
		s.Load = at(0, 9900*ms)
		s.Faults = []Fault{{Server: "db", From: sec, To: 10 * sec, Refuse: true}}
		s.Drain = ms
		s.Servers[0].Service = Fixed(ms)
		s.Client = func(w *World) Client {
			return func(ctx context.Context, _ *Request) error {
				for w.Call(context.WithoutCancel(ctx), "db") != nil || w.Elapsed() > 5*sec {
				}
				return nil
			}
		}
		Run(t, s)
	},
	"stuck": func(t *testing.T) {
		s := valid()
		s.Client = func(*World) Client {
			never := make(chan int)
			return func(context.Context, *Request) error { <-never; return nil }
		}
		Run(t, s)
	},
}

func TestScript(t *testing.T) {
	script := scripts[os.Getenv(scriptVariable)]
	if script == nil {
		return // it is TestWhatTheUserSees that runs it
	}
	script(t)
}

func TestWhatTheUserSees(t *testing.T) {
	for name, want := range map[string][]string{
		"broken": {
			`variant "bare": goodput at least 99%: second 3 had 0%; broken in 2 of 10 seconds: 3-4`,
			`variant "bold": goodput at least 99%`,
			`variant "bold": requests in flight at most 0`,
			"db: refuse, 3s to 5s", "│", "variant", "after 0s",
		},
		"invalid":           {"antagonist: Scenario.For must be at least a second, got 0s"},
		"nameless":          {"antagonist: variant 0 needs a Name"},
		"twins":             {`antagonist: there are two variants named "a"`},
		"none":              {"antagonist: Compare needs at least one variant"},
		"typo":              {`antagonist: World.Call: there is no server "bd"; the scenario has "db", "cache"`},
		"typo over HTTP":    {`antagonist: World.Dial: there is no server "bd"`},
		"call of a handler": {`server "db" has a Handler; reach it over World.Transport`},
		"endless":           {"the code under test keeps calling after the run has ended"},
		"stuck":             {"deadlock", "run_test.go"},
	} {
		t.Run(name, func(t *testing.T) {
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScript$", "-test.timeout=1m")
			command.Env = append(os.Environ(), scriptVariable+"="+name)
			output, err := command.CombinedOutput()
			if err == nil {
				t.Errorf("the test passed")
			}
			for _, part := range want {
				if !strings.Contains(string(output), part) {
					t.Errorf("the output lacks %q:\n%s", part, output)
				}
			}
		})
	}
}

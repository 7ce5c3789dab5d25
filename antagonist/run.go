package antagonist

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// Run runs a scenario in virtual time, inside a [testing/synctest] bubble of
// its own, and returns what came of it. It fails the test for every requirement
// that does not hold, with the seconds in which it did not and a chart, and
// stops the test with a sentence when the scenario makes no sense.
//
// It takes real time only for what the goroutines of the code under test
// compute. It must not be called from within a bubble.
func Run(t *testing.T, s Scenario) *Result {
	t.Helper()
	return compare(t, s, []Variant{{}})[0]
}

// Compare runs a scenario once for each variant, under the same load with the
// same random draws, and returns the results in the order of the variants.
// Requirements are judged as by [Run]; the table of all variants is in the
// test's log.
func Compare(t *testing.T, s Scenario, variants ...Variant) Results {
	t.Helper()
	if len(variants) == 0 {
		t.Fatal("antagonist: Compare needs at least one variant")
	}
	for i, v := range variants {
		if v.Name == "" {
			t.Fatalf("antagonist: variant %d needs a Name", i)
		}
		if slices.ContainsFunc(variants[:i], func(o Variant) bool { return o.Name == v.Name }) {
			t.Fatalf("antagonist: there are two variants named %q", v.Name)
		}
	}
	return compare(t, s, variants)
}

func compare(t *testing.T, s Scenario, variants []Variant) Results {
	t.Helper()
	scenarios := make([]Scenario, len(variants))
	for i, v := range variants {
		scenarios[i] = s.variant(v)
		if err := scenarios[i].Validate(); err != nil {
			t.Fatal(prefix(v.Name) + err.Error())
		}
	}
	var results Results
	for i, v := range variants {
		r := simulate(t, scenarios[i].withDefaults())
		r.Variant = v.Name
		results = append(results, r)
	}
	t.Logf("\n%v", results)
	if err := report(t.Name(), results); err != nil {
		t.Errorf("antagonist: no report written: %v", err)
	}
	for _, r := range results {
		for _, err := range r.Check(r.Scenario.Require...) {
			t.Error(prefix(r.Variant) + err.Error())
		}
	}
	return results
}

func prefix(variant string) string {
	if variant == "" {
		return ""
	}
	return fmt.Sprintf("variant %q: ", variant)
}

// simulate runs a valid scenario in a bubble.
func simulate(t *testing.T, s Scenario) *Result {
	t.Helper()
	var result *Result
	var misuse error
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(s, t.Output())
		misuse = w.run(s.Client(w))
		result = w.result()
	})
	if misuse != nil {
		t.Fatal(misuse)
	}
	if result == nil { // the code under test stopped the test
		t.FailNow()
	}
	return result
}

package main

import "strings"

// A reason is why tests differ, and which.
type reason struct {
	title string
	why   string
	tests []string
}

// reasons are the differences that are known: each with the reason why it is as it
// is. A test stands for its subtests too. One after which stands " (sometimes)" need
// not differ each time; one before which stands the name of its package and a space
// is of a suite other than net/http.
var reasons = []reason{}

const sometimes = " (sometimes)"

// matches reports whether a test of the table is the test of a suite, or one around it.
func matches(entry, suite, test string) bool {
	entry = strings.TrimSuffix(entry, sometimes)
	pkg, name, ok := strings.Cut(entry, " ")
	if !ok {
		pkg, name = "net/http", entry
	}
	return pkg == suite && (name == test || strings.HasPrefix(test, name+"/"))
}

// explain returns the reason of a difference, or nil.
func explain(known []reason, d *difference) *reason {
	for i := range known {
		for _, entry := range known[i].tests {
			if matches(entry, d.suite, d.test) {
				return &known[i]
			}
		}
	}
	return nil
}

// stale are the tests of the table that do not differ any more.
func stale(known []reason, found []*difference) []string {
	var names []string
	for _, r := range known {
		for _, entry := range r.tests {
			needed := strings.HasSuffix(entry, sometimes)
			for _, d := range found {
				needed = needed || matches(entry, d.suite, d.test)
			}
			if !needed {
				names = append(names, entry)
			}
		}
	}
	return names
}

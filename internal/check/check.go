// Package check collects what is wrong with a configuration, so that a user reads all of
// it at once: each problem with the field, its value and the rule that it breaks.
package check

import (
	"errors"
	"fmt"

	"github.com/crumplezone/stability"
)

// Problems are those of one configuration. The zero Problems has none.
type Problems struct {
	prefix string
	errs   []error
}

// Of returns an empty list for a type, as its package names it: "breaker: Config".
func Of(typeName string) *Problems { return &Problems{prefix: typeName} }

// If notes that the field breaks the rule, where bad is true: "breaker: Config.MinCalls
// (-1) must not be negative".
func (p *Problems) If(bad bool, field string, value any, rule string) {
	if bad {
		p.errs = append(p.errs, fmt.Errorf("%s.%s (%v) %s", p.prefix, field, value, rule))
	}
}

// Add notes a problem that is an error already. nil is none.
func (p *Problems) Add(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// In notes the problems of a part, joined or not, each behind its place, such as
// "retry: BudgetConfig." before "Keys.Max (-1) must not be negative". nil is none.
func (p *Problems) In(place string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // Err's own, not one that is wrapped.
		for _, err := range joined.Unwrap() {
			p.In(place, err)
		}
	} else if err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s%w", place, err))
	}
}

// Group panics with all that is wrong with a Group's configuration, if anything is: err is
// what its members' Validate says. pkg is its package.
func Group(pkg string, err error, keys stability.Keys) {
	p := &Problems{}
	p.In("", err)
	p.In(pkg+": ", keys.Validate())
	if err := p.Err(); err != nil {
		panic(err)
	}
}

// Err returns all problems, joined by [errors.Join], or nil.
func (p *Problems) Err() error { return errors.Join(p.errs...) }

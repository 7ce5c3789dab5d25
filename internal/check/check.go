// Package check collects what is wrong with a configuration, so that a user reads all of
// it at once: each problem with the field, its value and the rule that it breaks.
package check

import (
	"errors"
	"fmt"
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

// Err returns all problems, joined by [errors.Join], or nil.
func (p *Problems) Err() error { return errors.Join(p.errs...) }

package points

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/text"
)

// A Field is one setting of a configuration of type C: its name, and how it is read and written
// as text.
type Field[C any] struct {
	Name string          // as a point shows it
	Unit string          // of a number; "" where the value says it
	Get  func(*C) string // the value as text
	// Put writes the setting. It returns an error for text that is no such value, and has
	// changed nothing then. Whether the value is usable is for the configuration's Validate.
	Put func(*C, string) error
}

// Fields are the settings of a configuration, in the order in which they are shown.
type Fields[C any] []Field[C]

// A Configurable is a policy whose whole configuration, and mode, can be changed while it
// runs. All policies of this module are.
type Configurable[C any] interface {
	Config() C                         // returns the configuration in force
	Reconfigure(cfg C) error           // puts another one in force, or changes nothing
	SetMode(mode stability.Mode) error // puts a mode in force, or changes nothing
}

// modeName is the setting that every Configurable has beside those of its configuration.
const modeName = "mode"

// Settings returns the settings of c, and "mode".
func (f Fields[C]) Settings(c C, mode stability.Mode) []Setting {
	list := make([]Setting, 0, len(f)+1)
	list = append(list, Setting{Name: modeName, Value: mode.String()})
	for _, field := range f {
		list = append(list, Setting{Name: field.Name, Value: field.Get(&c), Unit: field.Unit})
	}
	return list
}

// Set changes the named settings of p, "mode" among them, all or none: it is the Set of a
// Source. mode is that in force.
func (f Fields[C]) Set(p Configurable[C], mode stability.Mode, values map[string]string) error {
	rest := maps.Clone(values)
	delete(rest, modeName)
	cfg, next := p.Config(), mode
	err := f.Put(&cfg, rest)
	if name, ok := values[modeName]; ok {
		err = errors.Join(err, next.UnmarshalText([]byte(name)))
	}
	if err != nil {
		return err
	}
	if next != mode {
		if err := p.SetMode(next); err != nil {
			return err
		}
	}
	if len(rest) == 0 {
		return nil
	}
	if err := p.Reconfigure(cfg); err != nil {
		if next != mode {
			_ = p.SetMode(mode) // which was in force
		}
		return err
	}
	return nil
}

// Put writes the values into c: all of them, or none and an error that names each that is not
// usable.
func (f Fields[C]) Put(c *C, values map[string]string) error {
	next := *c
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(f, func(field Field[C]) bool { return field.Name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("points: no setting %s (%s)", text.Quoted(name), strings.Join(f.names(), ", ")))
		} else if err := f[i].Put(&next, values[name]); err != nil {
			errs = append(errs, fmt.Errorf("points: %s: %w", name, err))
		}
	}
	if errs == nil {
		*c = next
	}
	return errors.Join(errs...)
}

func (f Fields[C]) names() []string {
	names := make([]string, len(f))
	for i, field := range f {
		names[i] = field.Name
	}
	return names
}

// Duration is a setting such as "1m30s".
func Duration[C any](name string, at func(*C) *time.Duration) Field[C] {
	return Field[C]{
		Name: name,
		Get:  func(c *C) string { return at(c).String() },
		Put:  put(at, time.ParseDuration, "a duration, such as 1m30s"),
	}
}

// Int is a setting that is a whole number of units, such as "calls".
func Int[C any](name, unit string, at func(*C) *int) Field[C] {
	return Field[C]{
		Name: name, Unit: unit,
		Get: func(c *C) string { return strconv.Itoa(*at(c)) },
		Put: put(at, strconv.Atoi, "a whole number"),
	}
}

// Float is a setting that is a number of units, such as "tokens per second".
func Float[C any](name, unit string, at func(*C) *float64) Field[C] {
	return Field[C]{
		Name: name, Unit: unit,
		Get: func(c *C) string {
			v, format := *at(c), byte('f')
			if a := math.Abs(v); a >= 1e15 || a < 1e-6 && a > 0 {
				format = 'g'
			}
			return strconv.FormatFloat(v, format, -1, 64)
		},
		Put: put(at, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }, "a number"),
	}
}

// Bool is a setting that is "true" or "false".
func Bool[C any](name string, at func(*C) *bool) Field[C] {
	return Field[C]{
		Name: name,
		Get:  func(c *C) string { return strconv.FormatBool(*at(c)) },
		Put: put(at, func(s string) (bool, error) {
			if s != "true" && s != "false" {
				return false, strconv.ErrSyntax
			}
			return s == "true", nil
		}, "true or false"),
	}
}

func put[C, V any](at func(*C) *V, parse func(string) (V, error), what string) func(*C, string) error {
	return func(c *C, value string) error {
		v, err := parse(value)
		if err != nil {
			return fmt.Errorf("%s is not %s", strconv.Quote(text.Shortened(value, text.MaxShown)), what)
		}
		*at(c) = v
		return nil
	}
}

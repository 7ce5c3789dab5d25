package points

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crumplezone/stability/internal/text"
)

// overrides are what was set for a policy beside its code, and until when.
type overrides struct {
	// changing is held by a change from its beginning to its end, also while the policy's own
	// functions run. mu is held for a few words.
	changing sync.Mutex

	mu     sync.Mutex
	layers layers
	code   map[string]string    // what the code says, of settings that have another value
	forced map[string]time.Time // until when members are forced, by key
	timer  *time.Timer          // of the next end
	over   bool                 // the policy is gone
	failed error                // why a value that has ended is still in force
}

// layers are the values that were set, of a file and of an operator, by name.
type layers [Operator + 1]map[string]override

type override struct {
	value string
	until time.Time
}

// retryAfter is when a policy is asked again to take back a value that has ended, where it
// refused.
const retryAfter = time.Minute

// top returns the value that is in force where one was set.
func (l *layers) top(name string) (o override, by Origin, ok bool) {
	for by = Operator; by > Code; by-- {
		if o, ok = l[by][name]; ok {
			return o, by, true
		}
	}
	return override{}, Code, false
}

// with returns the layers with values set in one of them.
func (l *layers) with(values map[string]string, by Change) layers {
	next := *l
	layer := maps.Clone(next[by.Source])
	if layer == nil {
		layer = map[string]override{}
	}
	for name, value := range values {
		if value == "" {
			delete(layer, name)
		} else {
			layer[name] = override{value, by.Until}
		}
	}
	next[by.Source] = layer
	return next
}

// without returns the layers without what has ended, and the names of that.
func (l *layers) without(now time.Time) (next layers, ended []string) {
	next = *l
	next[Operator] = maps.Clone(l[Operator])
	for name, o := range l[Operator] {
		if !o.until.After(now) {
			delete(next[Operator], name)
			ended = append(ended, name)
		}
	}
	return next, ended
}

// change sets values, and returns what takes that back.
func (e *entry) change(values map[string]string, by Change) (restore func() error, err error) {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.mu.Lock()
	before := e.layers
	e.mu.Unlock()
	names := slices.Sorted(maps.Keys(values))
	if err := e.apply(before.with(values, by), names); err != nil {
		return nil, err
	}
	return func() error {
		e.changing.Lock()
		defer e.changing.Unlock()
		return e.apply(before, names)
	}, nil
}

// apply makes next the layers in force. Their settings of these names may differ from the
// present ones. The caller holds changing.
func (e *entry) apply(next layers, names []string) error {
	code, err := e.codeOf(names)
	if err != nil {
		return err
	}
	values := map[string]string{}
	for _, name := range names {
		values[name] = code[name]
		if o, _, ok := next.top(name); ok {
			values[name] = o.value
		}
	}
	if len(values) > 0 {
		if err := e.setSafely(values); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.layers = next
	if e.code == nil {
		e.code = map[string]string{}
	}
	for _, name := range names {
		if _, _, ok := next.top(name); ok {
			e.code[name] = code[name]
		} else {
			delete(e.code, name)
		}
	}
	e.schedule()
	return nil
}

// codeOf returns what the code says of the settings of these names. The caller holds changing.
func (e *entry) codeOf(names []string) (map[string]string, error) {
	p, ok := e.read()
	if !ok {
		return nil, errGone
	}
	code := map[string]string{}
	var unknown []error
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range names {
		if value, ok := e.code[name]; ok {
			code[name] = value
		} else if s, ok := p.Setting(name); ok {
			code[name] = s.Value
		} else {
			unknown = append(unknown, fmt.Errorf("points: %s %s has no setting %s", text.Quoted(p.Policy), text.Quoted(p.Name), text.Quoted(name)))
		}
	}
	return code, errors.Join(unknown...)
}

func (e *entry) setSafely(values map[string]string) (err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = errors.New(text.Shortened(fmt.Sprintf("points: setting panicked: %v", problem), text.MaxShown))
		}
	}()
	return e.set(values)
}

func (e *entry) doSafely(key, action string) (err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = errors.New(text.Shortened(fmt.Sprintf("points: %s panicked: %v", action, problem), text.MaxShown))
		}
	}()
	return e.do(key, action)
}

// auto is the action that ends a forced state.
const auto = "auto"

// act does an action, and notes when it is to end.
func (e *entry) act(key, action string, by Change) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	if err := e.doSafely(key, action); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.forced == nil {
		e.forced = map[string]time.Time{}
	}
	if key == "" {
		clear(e.forced)
	}
	delete(e.forced, key)
	if strings.HasPrefix(action, "force_") {
		e.forced[key] = by.Until
	}
	e.schedule()
	return nil
}

// schedule sets the timer to the next end. The caller holds mu.
func (e *entry) schedule() {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, o := range e.layers[Operator] {
		sooner(o.until)
	}
	for _, until := range e.forced {
		sooner(until)
	}
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	if !next.IsZero() && !e.over {
		wait := time.Until(next)
		if e.failed != nil {
			wait = max(wait, retryAfter)
		}
		e.timer = time.AfterFunc(wait, e.end)
	}
}

// end takes back what has ended.
func (e *entry) end() {
	e.changing.Lock()
	defer e.changing.Unlock()
	now := time.Now()
	e.mu.Lock()
	next, names := e.layers.without(now)
	var keys []string
	for key, until := range e.forced {
		if !until.After(now) {
			keys = append(keys, key)
		}
	}
	e.mu.Unlock()

	for _, key := range slices.Sorted(slices.Values(keys)) {
		_ = e.doSafely(key, auto) // a member that is gone is not forced any more
	}
	e.mu.Lock()
	for _, key := range keys {
		delete(e.forced, key)
	}
	e.failed = nil
	e.mu.Unlock()
	if err := e.apply(next, names); err != nil {
		e.mu.Lock()
		e.failed = err
		e.schedule()
		e.mu.Unlock()
	}
}

// stop forgets what is to end: the policy is gone.
func (e *entry) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	e.schedule()
}

// mark says of each setting where its value comes from, and until when.
func (e *entry) mark(settings []Setting) (problem string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range settings {
		s := &settings[i]
		o, by, _ := e.layers.top(s.Name)
		s.Source, s.Until = by, o.until
	}
	if e.failed != nil {
		return text.Shortened("a value that has ended is still in force: "+e.failed.Error(), text.MaxShown)
	}
	return ""
}

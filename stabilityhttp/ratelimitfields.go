package stabilityhttp

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The fields RateLimit and RateLimit-Policy, as of
// draft-ietf-httpapi-ratelimit-headers-11 (May 2026). Revisions 08 to 11 have the
// same syntax, a List of Structured Fields (RFC 9651):
//
//	RateLimit-Policy: "default";q=100;w=10
//	RateLimit: "default";r=50;t=5
//
// Earlier revisions, and the X-RateLimit fields in use before them, have another
// and do not agree on what a reset time is; they are not read.

// A quotaPolicy is an item of the field RateLimit-Policy: quota requests in each
// window.
type quotaPolicy struct {
	name   string
	quota  int64
	window time.Duration
}

// String is the item as the field has it, the window in seconds, rounded up.
func (p quotaPolicy) String() string {
	return quote(p.name) + ";q=" + sfInteger(p.quota) + ";w=" + sfInteger(ceilSeconds(p.window))
}

// A serviceLimit is an item of the field RateLimit: no more than available
// requests should come within the window.
type serviceLimit struct {
	name      string
	available int64
	window    time.Duration // 0: not given
}

// String is the item as the field has it, the window in seconds, rounded up.
func (l serviceLimit) String() string {
	return quote(l.name) + ";r=" + sfInteger(l.available) + ";t=" + sfInteger(ceilSeconds(l.window))
}

// exhaustedFor returns how long the field RateLimit asks its client to stay away,
// and whether it does: the longest window of the limits of which nothing is left, less the
// time that the response has spent in a cache.
func exhaustedFor(h http.Header) (time.Duration, bool) {
	longest, exhausted := time.Duration(0), false
	for _, l := range parseRateLimit(h) {
		if l.available == 0 && l.window > 0 {
			longest, exhausted = max(longest, l.window-age(h)), true
		}
	}
	return longest, exhausted
}

// parseRateLimit reads the field RateLimit. One that is malformed is as if it were
// not there (section 7), and so is a single item without what it must have. Windows
// are at most maxPushback.
func parseRateLimit(h http.Header) []serviceLimit {
	var limits []serviceLimit
	items, _ := parseList(h.Values("RateLimit"))
	for _, item := range items {
		r, ok := item.integer("r")
		if !item.isString || !ok {
			continue
		}
		t, _ := item.integer("t")
		limits = append(limits, serviceLimit{item.value, r, min(time.Duration(t), maxPushback/time.Second) * time.Second})
	}
	return limits
}

// quote is s as a String of Structured Fields, which has no other characters than
// the printable ones of ASCII; they become "?".
func quote(s string) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r > '~':
			b = append(b, '?')
		default:
			b = append(b, byte(r))
		}
	}
	return string(append(b, '"'))
}

// maxInteger is the largest Integer of Structured Fields.
const maxInteger = 999_999_999_999_999

func sfInteger(n int64) string { return strconv.FormatInt(min(max(n, 0), maxInteger), 10) }

// maxFieldLen is how long a field may be to be read. Nobody has that many quotas.
const maxFieldLen = 4096

// An item is a member of a List of Structured Fields: what of it the fields above
// need.
type item struct {
	value    string // a String's; else ""
	isString bool
	params   []param
}

type param struct {
	key string
	n   int64 // an Integer's; else -1
}

// integer returns the parameter of that name, if it is an Integer and not
// negative. Of several the last one counts (RFC 9651, section 4.2.3.2).
func (i item) integer(key string) (int64, bool) {
	n := int64(-1)
	for _, p := range i.params {
		if p.key == key {
			n = p.n
		}
	}
	return max(n, 0), n >= 0
}

// parseList reads a field that is a List, in as many lines as it came (RFC 9651,
// section 4.2), and reports whether all of it is well-formed. Inner Lists are
// passed over.
func parseList(lines []string) ([]item, bool) {
	length := len(lines) // and a comma after each
	for _, line := range lines {
		length += len(line)
	}
	if length > maxFieldLen { // before a copy of it is made
		return nil, false
	}
	s := scanner{rest: strings.Join(lines, ",")}
	var items []item
	s.skip(" ")
	for s.rest != "" {
		var i item
		if s.accept('(') {
			for s.skip(" "); !s.accept(')'); {
				s.item()
				if spaces := s.skip(" "); s.bad || spaces == 0 && !s.at(')') {
					return nil, false
				}
			}
		} else {
			i = s.bareItem()
		}
		i.params = s.params()
		items = append(items, i)
		s.skip(" \t")
		if s.bad || s.rest == "" {
			break
		}
		if s.bad = !s.accept(','); s.bad {
			break
		}
		s.skip(" \t")
		s.bad = s.rest == "" // a comma at the end
	}
	if s.bad {
		return nil, false
	}
	return items, true
}

// A scanner takes a field apart from its start. Once bad, it stays so.
type scanner struct {
	rest string
	bad  bool
}

func (s *scanner) at(c byte) bool { return s.rest != "" && s.rest[0] == c }

func (s *scanner) accept(c byte) bool {
	if !s.at(c) {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// skip passes over any of the characters and returns how many there were.
func (s *scanner) skip(chars string) int {
	return len(s.take(func(c byte) bool { return strings.IndexByte(chars, c) >= 0 }))
}

// take returns the longest start of the rest of which all bytes are in.
func (s *scanner) take(in func(byte) bool) string {
	n := 0
	for n < len(s.rest) && in(s.rest[n]) {
		n++
	}
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	return taken
}

func (s *scanner) item() item {
	i := s.bareItem()
	i.params = s.params()
	return i
}

func (s *scanner) params() []param {
	var params []param
	for !s.bad && s.accept(';') {
		s.skip(" ")
		key := s.key()
		n := int64(-1)
		if !s.bad && s.accept('=') {
			n = s.value()
		}
		params = append(params, param{key, n})
	}
	return params
}

func (s *scanner) key() string {
	if s.rest == "" || !isLower(s.rest[0]) && s.rest[0] != '*' {
		s.bad = true
		return ""
	}
	return s.take(func(c byte) bool { return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0 })
}

// bareItem reads an item without its parameters.
func (s *scanner) bareItem() item {
	if s.at('"') {
		return item{value: s.text(), isString: true}
	}
	s.value()
	return item{}
}

// value reads a bare item and returns it if it is an Integer that is not negative,
// else -1.
func (s *scanner) value() int64 {
	if s.rest == "" {
		s.bad = true
		return -1
	}
	switch c := s.rest[0]; {
	case c == '-' || isDigit(c):
		return s.number()
	case c == '"':
		s.text()
	case c == ':': // Byte Sequence
		s.rest = s.rest[1:]
		s.take(func(c byte) bool { return isAlpha(c) || isDigit(c) || strings.IndexByte("+/=", c) >= 0 })
		s.bad = !s.accept(':')
	case c == '?': // Boolean
		s.rest = s.rest[1:]
		s.bad = !s.accept('0') && !s.accept('1')
	case c == '@': // Date
		s.rest = s.rest[1:]
		if s.bad = s.rest == "" || s.rest[0] != '-' && !isDigit(s.rest[0]); !s.bad {
			s.number()
		}
	case c == '%': // Display String
		s.rest = s.rest[1:]
		if s.bad = !s.accept('"'); !s.bad {
			s.take(func(c byte) bool { return c >= ' ' && c <= '~' && c != '"' })
			s.bad = !s.accept('"')
		}
	case c == '*' || isAlpha(c): // Token
		s.take(func(c byte) bool {
			return isAlpha(c) || isDigit(c) || strings.IndexByte(":/!#$%&'*+-.^_`|~", c) >= 0
		})
	default:
		s.bad = true
	}
	return -1
}

// number reads an Integer or a Decimal.
func (s *scanner) number() int64 {
	negative := s.accept('-')
	digits := s.take(isDigit)
	if digits == "" || len(digits) > 15 {
		s.bad = true
		return -1
	}
	if s.accept('.') {
		fraction := s.take(isDigit)
		s.bad = fraction == "" || len(fraction) > 3 || len(digits) > 12
		return -1
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || negative && n != 0 {
		return -1
	}
	return n
}

// text reads a String.
func (s *scanner) text() string {
	s.rest = s.rest[1:]
	var b strings.Builder
	for s.rest != "" {
		c := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case c == '"':
			return b.String()
		case c == '\\':
			if !s.at('"') && !s.at('\\') {
				s.bad = true
				return ""
			}
			c = s.rest[0]
			s.rest = s.rest[1:]
		case c < ' ' || c > '~':
			s.bad = true
			return ""
		}
		b.WriteByte(c)
	}
	s.bad = true
	return ""
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isAlpha(c byte) bool { return isLower(c | 0x20) }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

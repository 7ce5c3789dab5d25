package keyed

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func key(n int) string { return strconv.Itoa(n) }

func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newThings(Keys{})
		for n := range 5000 {
			m.Get(key(n))
		}
		require.Equal(t, 1024, m.Len())

		old := m.Get("old")
		old.pinned = true
		time.Sleep(15*time.Minute - time.Second)
		m.Get("young")
		require.Equal(t, 1024, m.Len(), "nothing is dropped for its age yet")
	})
}

// Contract: 42
func TestOneMemberForEachKey(t *testing.T) {
	const goroutines, keys = 16, 500
	m := newThings(Keys{})
	var got [goroutines][keys]*thing
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for _, n := range rand.Perm(keys) {
				got[g][n] = m.Get(key(n))
			}
		})
	}
	wg.Wait()
	for n := range keys {
		for g := range goroutines {
			require.Same(t, got[0][n], got[g][n])
			require.Equal(t, key(n), got[g][n].key)
		}
	}
	require.Equal(t, keys, m.Len())
}

// Contract: 42
func TestMillionKeys(t *testing.T) {
	const bound = 1000
	m := newThings(Keys{Max: bound})
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 1_000_000 {
		got := m.Get(key(rnd.IntN(1_000_000_000)))
		got.pinned = n%10_000 == 0
		if n%1000 == 0 {
			require.LessOrEqual(t, m.Len(), bound)
		}
	}
	pinned := 0
	for thing := range m.All() {
		require.Zero(t, thing.forgotten)
		if thing.pinned {
			pinned++
		}
	}
	require.Equal(t, 100, pinned)
}

// Random keys from many goroutines, while some members are in use at any moment:
// never more than the bound, and each member is forgotten once or still there.
//
// Contract: 42, 45
func TestBoundHolds(t *testing.T) {
	const goroutines, each, bound = 8, 25_000, 512
	type counted struct {
		key       string
		inUse     atomic.Int64
		forgotten atomic.Int64
	}
	var made, forgotten atomic.Int64
	m := newTold(Keys{Max: bound}, Members[counted]{
		Create: func(c *counted, key string, _ bool) { made.Add(1); c.key = key },
		Key:    func(c *counted) string { return c.key },
		Blank:  func(c *counted) bool { return c.inUse.Load() == 0 },
	}, func(c *counted) { c.forgotten.Add(1); forgotten.Add(1) })
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 0))
			var held [16]*counted
			for n := range each {
				k := key(rnd.IntN(1_000_000))
				if n%4 == 0 {
					k = key(rnd.IntN(100)) // some are busy
				}
				c := m.Get(k)
				if c.key != k && c.key != OverflowKey {
					t.Errorf("Get(%q) returned the member of %q", k, c.key)
				}
				c.inUse.Add(1)
				if old := held[n%len(held)]; old != nil {
					old.inUse.Add(-1)
				}
				held[n%len(held)] = c
				if n%1000 == 0 && m.Len() > bound {
					t.Errorf("%d members", m.Len())
				}
			}
		})
	}
	wg.Wait()
	members := 0
	for c := range m.All() {
		members++
		require.Zero(t, c.forgotten.Load())
	}
	require.LessOrEqual(t, members, bound+overflows)
	require.Equal(t, made.Load(), forgotten.Load()+int64(members), "each that was made is a member or was told to forget, once")
}

// Members that are asked for stay, however many other keys come.
func TestSecondChance(t *testing.T) {
	m := newThings(Keys{Max: 100})
	var hot []*thing
	for n := range 10 {
		hot = append(hot, m.Get("hot"+key(n)))
	}
	for n := range 100_000 {
		m.Get(key(n))
		require.Same(t, hot[n%10], m.Get("hot"+key(n%10)))
	}
}

// Contract: 42
func TestOverflow(t *testing.T) {
	m := newThings(Keys{Max: 3})
	for n := range 3 {
		m.Get(key(n)).pinned = true
	}
	over := m.Get("more")
	require.Equal(t, OverflowKey, over.key)
	require.True(t, over.overflow)
	require.Same(t, over, m.Get("more"))
	require.Equal(t, 3, m.Len())
	require.EqualValues(t, 2, m.Overflowed())
	_, ok := m.Lookup("more")
	require.False(t, ok)

	m.Get("1").pinned = false
	more := m.Get("more")
	require.Equal(t, "more", more.key, "there is room again")
	require.Equal(t, 3, m.Len())
	require.EqualValues(t, 2, m.Overflowed())
	more.pinned = true
	require.True(t, m.Get("1").overflow, "the one that made it")
}

// One member for all keys past the bound was a lever against all of them: one key that
// used up what it allows shut out the others. They are spread, and by a seed that nobody
// outside knows.
//
// Contract: 42
func TestOverflowIsDivided(t *testing.T) {
	first := map[string]*thing{}
	maps := []*Map[thing]{newThings(Keys{Max: 1}), newThings(Keys{Max: 1})}
	groupings := make([]map[[2]int]bool, len(maps))
	for i, m := range maps {
		m.Get("kept").pinned = true
		sharing := map[*thing]int{}
		groupings[i] = map[[2]int]bool{}
		for n := range 1600 {
			over := m.Get(key(n))
			sharing[over]++
			first[key(n)] = over
			for before := range min(n, 40) {
				groupings[i][[2]int{before, n}] = m.Get(key(before)) == over
			}
		}
		require.Len(t, sharing, overflows)
		for _, n := range sharing {
			require.Less(t, n, 200, "of 1600 keys, about a hundred share a member")
		}
		seen := 0
		for range m.All() {
			seen++
		}
		require.Equal(t, 1+overflows, seen)
	}
	require.NotEqual(t, groupings[0], groupings[1], "who shares with whom is another question in each map")
}

// A key that was called as an overflow member is called got that member, and with it the
// power to use it up for everybody.
//
// Contract: 42
func TestNoKeyNamesAnOverflowMember(t *testing.T) {
	m := newThings(Keys{Max: 1})
	named := m.Get(OverflowKey)
	require.False(t, named.overflow)
	named.pinned = true
	require.NotSame(t, named, m.Get("another"))
	require.NotSame(t, named, m.Overflow())
	require.Same(t, named, m.Get(OverflowKey))
	first := m.Overflow()
	require.Same(t, first, m.Overflow())
}

// A thousand addresses that failed once each kept all places, for ever: nobody asked for
// them any more, they refused nothing, and what came new had to share. A month and a year
// later a new address has its own member; before IdleFor, and where the old ones refuse
// something, it has not.
//
// Contract: 42, 51
func TestDeadMembersMakeRoom(t *testing.T) {
	for name, c := range map[string]struct {
		after  time.Duration
		pinned bool
		own    bool
	}{
		"soon":                      {after: 14 * time.Minute},
		"by twice IdleFor":          {after: 30 * time.Minute, own: true},
		"a month later":             {after: 30 * 24 * time.Hour, own: true},
		"a year later":              {after: 365 * 24 * time.Hour, own: true},
		"a year of refusals later":  {after: 365 * 24 * time.Hour, pinned: true},
		"and a week with Gets only": {after: 7 * 24 * time.Hour, own: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newThings(Keys{})
				for range 3 { // calls, each of which asks
					for n := range 1024 {
						member := m.Get(key(n))
						member.used, member.pinned = true, c.pinned
					}
				}
				living := []string{"1", "500", "1000"}
				for passed := time.Duration(0); passed < c.after; passed += 7 * time.Minute {
					for _, k := range living {
						m.Get(k)
					}
					if c.after > 8*24*time.Hour { // or nobody comes at all
						time.Sleep(c.after - passed - time.Minute)
						passed = c.after - time.Minute
					}
					time.Sleep(min(7*time.Minute, c.after-passed))
				}
				for _, k := range living {
					m.Get(k)
				}
				pod := m.Get("a new pod")
				require.Equal(t, c.own, !pod.overflow)
				for _, k := range living {
					require.Zero(t, m.Get(k).forgotten)
					require.True(t, m.Get(k).used, "one that is asked for keeps what it knows")
				}
			})
		})
	}
}

// What is older than all that is remembered of ages has been idle for longer than IdleFor.
func TestAgesRunOut(t *testing.T) {
	a := ages{}
	a.init(time.Hour)
	now := time.Now()
	state := a.now.Load()
	for n := range 3 * remembered {
		require.Zero(t, a.idle(a.now.Load(), now))
		if n > 0 {
			require.GreaterOrEqual(t, a.idle(state, now), time.Duration(n-1)*15*time.Minute)
		}
		a.count(now)
		now = now.Add(15 * time.Minute)
		a.look(now)
	}
	a.nth = numbers - 1
	for range 3 {
		state = a.now.Load()
		a.turn(now)
		require.NotEqual(t, uint32(gone), a.now.Load())
		require.Zero(t, a.idle(a.now.Load(), now))
	}
	require.Zero(t, a.idle(state, now))
	require.Equal(t, time.Minute, a.idle(state, now.Add(time.Minute)))
}

// Members that nobody asks for go when other keys come, none before IdleFor and all
// by twice that; those in use stay.
func TestIdleFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newThings(Keys{Max: 2000, IdleFor: time.Minute})
		for n := range 1000 {
			m.Get(key(n))
		}
		m.Get("7").pinned = true
		var busy []*thing
		for second := range 120 {
			time.Sleep(time.Second)
			busy = append(busy, m.Get("busy"))
			m.Get("x" + key(second))
			if second < 59 {
				require.Equal(t, 1000+1+second+1, m.Len())
			}
		}
		require.LessOrEqual(t, m.Len(), 2+120)
		require.Equal(t, "7", m.Get("7").key)
		require.Zero(t, m.Get("7").forgotten)
		for _, b := range busy {
			require.Same(t, busy[0], b)
		}
	})
}

// However many keys come while all members would lose something, each costs the
// same small search, at any size of the map.
func TestSearchIsBounded(t *testing.T) {
	const bound = 20_000
	looked := 0
	m := newTold(Keys{Max: bound}, Members[thing]{
		Create: func(t *thing, key string, _ bool) { t.key, t.pinned = key, true },
		Key:    (*thing).name,
		Blank:  func(t *thing) bool { looked++; return !t.pinned },
	}, nil)
	for n := range bound {
		m.Get(key(n))
	}
	looked = 0
	const attempts = 10_000
	for n := range attempts {
		require.Equal(t, OverflowKey, m.Get("x"+key(n)).key)
	}
	require.LessOrEqual(t, looked, maxSteps+attempts*searchSteps)

	// The one that can go is found within a round.
	m.Get("5000").pinned = false
	rounds := 0
	for m.Get("new").key != "new" {
		rounds++
	}
	require.LessOrEqual(t, rounds, 1+bound/searchSteps)
}

// A member that Get has just returned is not the one that makes room for the next.
func TestJustReturnedStays(t *testing.T) {
	m := newThings(Keys{Max: 64})
	for n := range 10_000 {
		got := m.Get(key(n))
		m.Get(key(n + 1))
		require.Zero(t, got.forgotten)
	}
}

// A Get that has found a member just before it is dropped does not return it.
func TestFoundAndDropped(t *testing.T) {
	for name, use := range map[string]func(m *Map[thing]){
		"unmarked": func(*Map[thing]) {},
		"marked":   func(m *Map[thing]) { m.Get("a") },
	} {
		t.Run(name, func(t *testing.T) {
			m := newThings(Keys{Max: 1})
			m.Get("a")
			found := m.table.find(m.table.hash("a"), "a")
			use(m)
			m.Get("b")
			require.Equal(t, 1, found.value.forgotten)
			require.False(t, m.ask(found))
			require.Nil(t, found.prev, "keeps no other member alive")
			require.Nil(t, found.next)
		})
	}
}

// A member that is asked for while the hand makes up its mind is not dropped.
func TestAskedForWhileLookedAt(t *testing.T) {
	var m *Map[thing]
	m = newTold(Keys{Max: 2}, Members[thing]{
		Create: func(t *thing, key string, _ bool) { t.key = key },
		Key:    (*thing).name,
		Blank:  func(t *thing) bool { return m.Get(t.key) == t && t.key == "a" },
	}, func(t *thing) { t.forgotten++ })
	a := m.Get("a")
	m.Get("b")
	m.Get("c")
	require.Zero(t, a.forgotten)
	require.Same(t, a, m.Get("a"))
}

// Nor is one that comes into use while the hand goes on to look for a better one.
func TestUsedWhileOthersAreLookedAt(t *testing.T) {
	used := map[string]bool{"b": true}
	var m *Map[thing]
	m = newTold(Keys{Max: 2}, Members[thing]{
		Create: func(t *thing, key string, _ bool) { t.key = key },
		Key:    (*thing).name,
		Blank: func(t *thing) bool {
			if t.key == "b" {
				used[m.Get("a").key] = true
			}
			return !used[t.key]
		},
	}, func(t *thing) { t.forgotten++ })
	a := m.Get("a")
	m.Get("b")
	m.Get("a")
	require.Equal(t, OverflowKey, m.Get("c").key)
	require.Zero(t, a.forgotten)
	require.Same(t, a, m.Get("a"))
}

// A panic of create leaves the map as it was.
func TestCreatePanics(t *testing.T) {
	fail := true
	m := newTold(Keys{}, Members[thing]{
		Create: func(t *thing, key string, _ bool) {
			if fail {
				panic("create")
			}
			t.key = key
		},
		Key:   (*thing).name,
		Blank: func(*thing) bool { return true },
	}, nil)
	require.PanicsWithValue(t, "create", func() { m.Get("a") })
	require.Zero(t, m.Len())
	fail = false
	require.Equal(t, "a", m.Get("a").key)
}

// A member's key does not keep alive what the caller cut it from.
func TestKeyIsCopied(t *testing.T) {
	m := newThings(Keys{})
	large := strings.Repeat("x", 1<<20)
	got := m.Get(large[:3])
	require.Equal(t, "xxx", got.key)
	require.NotSame(t, unsafe.StringData(large), unsafe.StringData(got.key))
}

// Keys whose hashes are equal, and keys of which one begins with another or both with
// as much as a member holds of a short one, are still different keys.
func TestHashAloneIsNoMatch(t *testing.T) {
	const inline = len(member[thing]{}.short)
	b := strings.Repeat("b", inline)
	keys := []string{"", "b", b[1:], b, b + "b", b + "c", b + b, "c" + b}
	for _, k := range keys {
		m := newThings(Keys{})
		m.add(0, k) // wherever its own hash would be
		for _, other := range keys {
			found := m.table.find(0, other)
			require.Equal(t, other == k, found != nil, "%q found by %q", k, other)
		}
	}
}

// What Get touches of a member are 24 bytes, and what it returns begins with the next:
// policies count on it to share a cache line with them (see ratelimit.Limiter).
func TestLayout(t *testing.T) {
	require.EqualValues(t, 24, unsafe.Offsetof(member[thing]{}.value))
}

// The table shrinks when members go.
func TestTableShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newThings(Keys{Max: 100_000, IdleFor: time.Minute})
		for n := range 100_000 {
			m.Get(key(n))
		}
		for n := range 1000 {
			time.Sleep(time.Minute)
			m.Get("x" + key(n))
		}
		require.Less(t, m.Len(), 1000)
		require.LessOrEqual(t, len(*m.table.slots.Load()), 16*1000)
		for e := range m.All() {
			require.Same(t, e, m.Get(e.key))
		}
	})
}

// Stats of a Group reads members by the hundred thousand at each scrape. A new key waits for
// a few of them at the most: the lock is held for walkSteps members at a time, and not while
// one is read.
//
// Contract: 42, 43
func TestAllLocksForAFewMembers(t *testing.T) {
	const members = 20_000
	m := newThings(Keys{Max: members + 1})
	for n := range members {
		m.Get(key(n))
	}
	seen := 0
	for range m.All() {
		require.True(t, m.mu.TryLock())
		m.mu.Unlock()
		seen++
	}
	require.Equal(t, members, seen)

	w := &walk[thing]{next: m.hand, last: m.hand.prev}
	for left := members; left > 0; left -= walkSteps {
		require.Len(t, m.walk(w, nil), min(left, walkSteps))
	}
	require.Empty(t, m.walk(w, nil))
}

func TestAllStops(t *testing.T) {
	m := newThings(Keys{})
	for n := range 10 {
		m.Get(key(n))
	}
	seen := 0
	for range m.All() {
		if seen++; seen == 3 {
			break
		}
	}
	require.Equal(t, 3, seen)
}

// A thousand requests with keys of a mebibyte each held a gibibyte. A long key is its own
// all the same, however little it differs from another, and can be recognized.
//
// Contract: 42
func TestLongKeys(t *testing.T) {
	m := newThings(Keys{})
	require.Equal(t, strings.Repeat("x", maxKey), m.Get(strings.Repeat("x", maxKey)).key)
	long := strings.Repeat("ä", 1<<19)
	members := map[*thing]bool{}
	for n := range 1024 {
		member := m.Get(long + key(n))
		require.LessOrEqual(t, len(member.key), maxKey)
		require.True(t, utf8.ValidString(member.key))
		require.True(t, strings.HasPrefix(member.key, strings.Repeat("ä", 30)))
		members[member] = true
	}
	require.Len(t, members, 1024)
	require.True(t, members[m.Get(long+"7")])
	own, ok := m.Lookup(long + "7")
	require.True(t, ok)
	require.Same(t, m.Get(long+"7"), own)
	for _, bad := range []string{strings.Repeat("\xff", 300), strings.Repeat("\x80", 300), strings.Repeat("x", 63) + strings.Repeat("€", 300)} {
		require.LessOrEqual(t, len(Shorten(bad)), maxKey)
		require.Equal(t, bad[:60], Shorten(bad)[:60])
	}
}

// All meets each member once, whatever is made and dropped while it is on its way.
//
// Contract: 43
func TestAllWhileMembersComeAndGo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(1, 2*walkSteps+3).Draw(rt, "max")
		m := newThings(Keys{Max: most})
		stay := map[*thing]bool{}
		for n := range most {
			m.Get(key(n)).pinned = rapid.IntRange(0, 3).Draw(rt, "pinned") > 0
		}
		for member := range m.All() {
			stay[member] = member.pinned
		}
		m.steps = maxSteps
		next := most
		for range rapid.IntRange(0, most).Draw(rt, "the hand") {
			m.Get(key(next))
			next++
		}
		seen := map[*thing]bool{}
		for member := range m.All() {
			require.False(rt, seen[member], "twice")
			seen[member] = true
			for range rapid.IntRange(0, 2).Draw(rt, "new ones") {
				m.Get(key(next))
				next++
			}
		}
		for member, stayed := range stay {
			require.True(rt, seen[member] || !stayed, "missed")
		}
		require.Empty(rt, m.walks)
	})
}

func TestGetDoesNotAllocate(t *testing.T) {
	m := newThings(Keys{Max: 1})
	m.Get("a").pinned = true
	m.Get("b")
	require.Zero(t, testing.AllocsPerRun(1000, func() { m.Get("a") }), "a member")
	require.Zero(t, testing.AllocsPerRun(1000, func() { m.Get("b") }), "the overflow member")
}

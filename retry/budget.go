package retry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/crumplezone/stability"
	"github.com/crumplezone/stability/internal/attempts"
	"github.com/crumplezone/stability/internal/check"
	"github.com/crumplezone/stability/internal/live"
	"github.com/crumplezone/stability/internal/window"
)

// BudgetConfig configures a [Budget]. The zero value is valid.
type BudgetConfig struct {
	// Ratio is how many retries each call of the last Window pays for, above 0 and
	// at most 100. Default 0.2.
	Ratio float64
	// MinPerSecond is how many retries a second are paid for without calls, so
	// that a client of little traffic can retry at all: MinPerSecond times Window
	// of them within a Window. Above 0, at most 1e6; a tiny value is as good as
	// none. Where there is a Key, each key has its own, within TotalMinPerSecond. Default 1.
	MinPerSecond float64
	// TotalMinPerSecond bounds what MinPerSecond comes to for all keys together, where
	// there is a Key, so that a thousand hosts which fail at once, such as when this side
	// has lost its network, are not retried a thousand times as often. What a key's own
	// calls pay for is not bounded by it. Not below MinPerSecond, at most 1e6. Default 10
	// times MinPerSecond.
	TotalMinPerSecond float64
	// Window is how long a call counts, at least 10ms: what calls earned in a long
	// quiet time is not there to be spent on an outage. It slides, in ten steps, and
	// what was spent counts for up to a step longer.
	// Default 10s.
	Window time.Duration

	// Key returns what the budget of a call is kept by, given the call's context, so
	// that a dependency which fails uses up no retries but its own: a host, a shard.
	// It is asked at each attempt. Default nil: one budget for all calls.
	Key func(ctx context.Context) string
	// Keys bounds the budgets that are kept where there is a Key. One from which
	// something was spent within the Window is never forgotten.
	Keys stability.Keys
}

// Validate returns an error for each field that is not usable, joined by [errors.Join],
// or nil. [NewBudget] panics with it.
func (c BudgetConfig) Validate() error {
	p := check.Of("retry: BudgetConfig")
	p.If(math.IsNaN(c.Ratio) || c.Ratio < 0 || c.Ratio > maxRatio, "Ratio", c.Ratio, fmt.Sprintf("must be from 0 to %d", maxRatio))
	p.If(math.IsNaN(c.MinPerSecond) || c.MinPerSecond < 0 || c.MinPerSecond > maxMinPerSecond, "MinPerSecond", c.MinPerSecond,
		fmt.Sprintf("must be from 0 to %d", maxMinPerSecond))
	p.If(math.IsNaN(c.TotalMinPerSecond) || c.TotalMinPerSecond < 0 || c.TotalMinPerSecond > maxMinPerSecond,
		"TotalMinPerSecond", c.TotalMinPerSecond, fmt.Sprintf("must be from 0 to %d", maxMinPerSecond))
	p.If(c.TotalMinPerSecond > 0 && c.TotalMinPerSecond < c.withDefaults().MinPerSecond, "TotalMinPerSecond", c.TotalMinPerSecond,
		fmt.Sprintf("must not be below BudgetConfig.MinPerSecond (%v)", c.withDefaults().MinPerSecond))
	p.If(c.TotalMinPerSecond > 0 && c.Key == nil, "TotalMinPerSecond", c.TotalMinPerSecond, "needs a BudgetConfig.Key")
	p.If(c.Window < 0, "Window", c.Window, "must not be negative")
	p.If(c.Window > 0 && c.Window < minWindow, "Window", c.Window, fmt.Sprintf("must be at least %v", minWindow))
	p.If(c.Key == nil && c.Keys != stability.Keys{}, "Keys", c.Keys, "needs a BudgetConfig.Key")
	p.In("retry: BudgetConfig.", c.Keys.Validate())
	return p.Err()
}

const (
	maxRatio        = 100
	maxMinPerSecond = 1_000_000
	minWindow       = 10 * time.Millisecond
	// totalShare is how many keys may use up their floors at once, unless said otherwise.
	totalShare = 10
)

// A Budget bounds how many retries and hedges are made, over all policies that
// share it. Calls earn, retries and hedges spend. Within each span of a Window, and
// however many goroutines call,
//
//	retries ≤ Ratio × calls + MinPerSecond × Window
//
// So the load that reaches the
// dependency stays below (1 + Ratio) times that of the calls, plus the floor, also
// when all of them fail; and as calls earn anew, the budget refills.
//
// A call earns once in each budget, through however many policies with that budget
// it passes, and a retry does not earn.
//
// Where it has a Key, all this holds for each key by itself, and the Budget is only
// where to find the one that pays: see [Budget.For]. The floors of all keys together are
// bounded too:
//
//	all retries ≤ Ratio × all calls + TotalMinPerSecond × Window
//
// A nil *Budget pays for everything, as [Unlimited] does, but for one in a Config, which
// stands for a budget of the policy's own. All methods may be called by any number of
// goroutines, and none blocks for longer than a reading takes.
type Budget struct {
	key     func(context.Context) string
	members *stability.Group[Budget]  // nil: there is no key
	live    *live.Value[BudgetConfig] // nil of a member, and of an unlimited one
	name    string                    // the key of a member

	unlimited    bool
	ratio, floor float64 // guarded by the account's lock
	account      account
	// total is what a member's floor is paid out of; nil: the floor is the budget's own.
	total *Budget
}

// An account is what calls and retries there were in the present slot and those before
// it. A call counts for the slot that its context is made in, or for an earlier one
// (see [window.Steps]), and is forgotten sooner then: a timer that is late can make
// the limit smaller and never larger.
type account struct {
	window.Steps // guards the rest

	slots   [kept]slot // slot n at n % kept
	present int64      // the number of the present slot
	calls   int64      // in the last slots slots
	spent   int64      // in all
	ofTotal int64      // of what was spent, what the calls had not earned
}

const (
	// slots is how many steps a window has, the present one included.
	slots = 10
	// kept is how many slots are known. What was spent counts for a step longer than
	// the calls that pay for it: of the first step of a span as long as a Window, only
	// the end may lie in the span.
	kept = slots + 1
)

type slot struct{ calls, spent, ofTotal int64 }

// Advance implements [window.Buckets].
func (a *account) Advance(calls, steps int64) (empty bool) {
	a.slots[a.present%kept].calls += calls
	a.calls += calls
	if steps < 0 || steps > kept {
		steps = kept // all is forgotten
	}
	for range steps {
		a.present++
		a.calls -= a.slots[(a.present-slots+kept)%kept].calls
		old := &a.slots[a.present%kept]
		a.spent -= old.spent
		a.ofTotal -= old.ofTotal
		*old = slot{}
	}
	return a.calls == 0
}

// NewBudget returns a budget. It panics with the error of [BudgetConfig.Validate]
// when cfg is not usable.
func NewBudget(cfg BudgetConfig) *Budget {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	cfg = cfg.withDefaults()
	b := &Budget{live: new(live.Value[BudgetConfig])}
	b.live.Init(cfg)
	b.init(cfg)
	if cfg.Key != nil {
		b.key = cfg.Key
		total := new(Budget)
		total.init(BudgetConfig{MinPerSecond: cfg.TotalMinPerSecond, Window: cfg.Window})
		b.total = total
		b.members = stability.NewGroup(cfg.Keys, stability.Members[Budget]{
			Create: func(member *Budget, key string, _ bool) {
				member.init(*b.live.Config())
				member.name, member.total = key, total
			},
			Key:   func(b *Budget) string { return b.name },
			Blank: (*Budget).blank,
		})
	}
	return b
}

func (c BudgetConfig) withDefaults() BudgetConfig {
	if c.Ratio == 0 {
		c.Ratio = 0.2
	}
	if c.MinPerSecond == 0 {
		c.MinPerSecond = 1
	}
	if c.TotalMinPerSecond == 0 {
		c.TotalMinPerSecond = min(totalShare*c.MinPerSecond, maxMinPerSecond)
	}
	if c.Window == 0 {
		c.Window = 10 * time.Second
	}
	return c
}

func (b *Budget) init(cfg BudgetConfig) {
	b.ratio, b.floor = cfg.Ratio, cfg.floor()
	b.account.Init((cfg.Window-1)/slots+1, &b.account)
}

// Config returns the configuration in force, with its defaults; of an [Unlimited] budget and
// of that of a key, the zero BudgetConfig.
func (b *Budget) Config() BudgetConfig {
	if b == nil || b.live == nil {
		return BudgetConfig{}
	}
	cfg := *b.live.Config()
	if cfg.Key == nil {
		cfg.TotalMinPerSecond = 0
	}
	return cfg
}

// Reconfigure puts another Ratio, MinPerSecond and TotalMinPerSecond in force, for the budgets
// of all keys and those to come. What calls have earned, and what was spent, counts on. Window
// must be as it was; Key and Keys stay as they were. An unusable cfg changes nothing, and
// Reconfigure returns an error. The budget of a key is changed through the Budget that it is of;
// one that is [Unlimited] stays so.
func (b *Budget) Reconfigure(cfg BudgetConfig) error {
	if b == nil || b.unlimited {
		return nil
	}
	if b.live == nil {
		return errors.New("retry: the budget of a key is changed through the Budget that it is of")
	}
	if b.key != nil {
		cfg.Key = b.key
	}
	cfg.Keys = stability.Keys{}
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	return b.live.Change(func(now *live.State[BudgetConfig]) error {
		if cfg.Window != now.Config.Window {
			return fmt.Errorf("retry: BudgetConfig.Window (%v) must stay as it is (%v)", cfg.Window, now.Config.Window)
		}
		cfg.Key, cfg.Keys = now.Config.Key, now.Config.Keys
		now.Config = cfg
		return nil
	}, func() {
		cfg := b.live.Config()
		b.set(cfg.Ratio, cfg.floor())
		if b.members == nil {
			return
		}
		b.total.set(0, cfg.TotalMinPerSecond*cfg.Window.Seconds())
		for _, member := range b.members.All() {
			member.set(cfg.Ratio, cfg.floor())
		}
	})
}

// floor returns how many retries a window pays for without calls.
func (c *BudgetConfig) floor() float64 { return c.MinPerSecond * c.Window.Seconds() }

func (b *Budget) set(ratio, floor float64) {
	b.account.Lock()
	defer b.account.Unlock()
	b.ratio, b.floor = ratio, floor
}

func (b *Budget) minimum() float64 {
	b.account.Lock()
	defer b.account.Unlock()
	return b.floor
}

// Unlimited returns a budget that pays for everything: for tests, and for calls
// that cannot harm anyone however often they are made.
func Unlimited() *Budget { return &Budget{unlimited: true} }

// For returns the budget that pays for a call in ctx: b itself, or the one of its key.
// Ask for it at each call: a budget that is kept elsewhere can be forgotten here, and
// another be made in its place.
func (b *Budget) For(ctx context.Context) *Budget {
	if b == nil || b.members == nil {
		return b
	}
	return b.member(ctx)
}

// Lookup returns the budget of a key, if there is one: where there is a BudgetConfig.Key, and
// a call of that key was made. It makes none, and does not count as use of it.
func (b *Budget) Lookup(key string) (*Budget, bool) {
	if b == nil || b.members == nil {
		return nil, false
	}
	return b.members.Lookup(key)
}

func (b *Budget) member(ctx context.Context) *Budget { return b.members.Get(b.key(ctx)) }

// blank reports whether a new budget would not pay for more.
func (b *Budget) blank() bool { return b.Stats().Spent == 0 }

// Earn counts a call, and returns the context to make it under: what it passes
// further in does not earn in this budget again. It is for those who write a policy
// that spends from a Budget; a [Retry] does it by itself.
func (b *Budget) Earn(ctx context.Context) context.Context {
	b = b.For(ctx)
	outer := attempts.Of(ctx)
	if b == nil || !b.earn(outer) {
		return ctx
	}
	return &attempts.Mark{Context: ctx, Attempt: outer.Number(), Budget: b}
}

func (b *Budget) earn(outer *attempts.Mark) bool {
	if b.unlimited || outer.Number() > 1 || outer.Earned(b) {
		return false
	}
	b.account.Count()
	return true
}

// Spend pays for one retry or hedge. It returns false, and takes nothing, when the
// budget has not enough left. It knows nothing of a call's key: where there is one, it
// is For that returns the budget to spend from, and Spend pays out of that which keys
// past the bound share.
func (b *Budget) Spend() bool {
	if b == nil {
		return true
	}
	if b.members != nil {
		b = b.members.Shared()
	}
	_, ok := b.spend()
	return ok
}

// A payment says which slots have paid for a retry: of a budget, and of the total where the
// budget's calls had not earned it.
type payment struct {
	slot, total int64
	ofTotal     int64 // 0 or 1
}

// pay counts a payment, or takes it back where n is -1. The caller holds the lock.
func (a *account) pay(p payment, n int64) {
	s := &a.slots[p.slot%kept]
	s.spent += n
	s.ofTotal += n * p.ofTotal
	a.spent += n
	a.ofTotal += n * p.ofTotal
}

func (b *Budget) spend() (p payment, ok bool) {
	if b == nil || b.unlimited {
		return payment{}, true
	}
	a := &b.account
	a.Lock()
	defer a.Unlock()
	a.Turn(a.Now(), true)
	if a.spent >= b.limit() {
		return payment{}, false
	}
	if b.total != nil && float64(a.spent-a.ofTotal+1) > b.ratio*float64(a.calls) {
		of, ok := b.total.spend()
		if !ok {
			return payment{}, false
		}
		p.total, p.ofTotal = of.slot, 1
	}
	p.slot = a.present
	a.pay(p, 1)
	return p, true
}

// refund takes back what was paid for a retry that was not made.
func (b *Budget) refund(p payment) {
	if b == nil || b.unlimited {
		return
	}
	if p.ofTotal > 0 {
		b.total.refund(payment{slot: p.total})
	}
	a := &b.account
	a.Lock()
	defer a.Unlock()
	if p.slot > a.present-kept { // else it is forgotten
		a.pay(p, -1)
	}
}

// limit is how many retries the calls of the window pay for. The caller holds the
// account's lock.
func (b *Budget) limit() int64 { return int64(b.ratio*float64(b.account.calls) + b.floor) }

// BudgetStats is what a [Budget] has left.
type BudgetStats struct {
	Limit int64 // retries and hedges that the present window pays for; math.MaxInt64 of an Unlimited one
	Spent int64 // retries and hedges of the present window
}

// Stats returns a reading of the moment: where there is a Key, of all keys together,
// and before there are any what the first will have.
func (b *Budget) Stats() BudgetStats {
	if b == nil {
		return BudgetStats{Limit: math.MaxInt64}
	}
	if b.members != nil && b.members.Len() > 0 {
		var sum BudgetStats
		floors := 0.0
		for _, member := range b.members.All() {
			s := member.Stats()
			sum.Limit += s.Limit
			sum.Spent += s.Spent
			floors += member.minimum()
		}
		sum.Limit -= int64(max(floors-b.total.minimum(), 0)) // of the floors, so much is there for all
		return sum
	}
	if b.unlimited {
		return BudgetStats{Limit: math.MaxInt64}
	}
	a := &b.account
	a.Lock()
	defer a.Unlock()
	a.Turn(a.Now(), true)
	return BudgetStats{Limit: b.limit(), Spent: a.spent}
}

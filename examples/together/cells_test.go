package together

import (
	"fmt"
	"time"

	"github.com/crumplezone/stability/hedge"
)

// cells are all worlds, family by family.
func cells() []cell {
	var all []cell
	for _, family := range families {
		for _, c := range family.cells() {
			c.family = family.name
			all = append(all, c.withDefaults())
		}
	}
	return all
}

func (c cell) withDefaults() cell {
	if c.kind == "" {
		c.kind = short
	}
	if c.work == (work{}) {
		c.work = c.kind.work()
	}
	if c.tiers == 0 {
		c.tiers = 1
	}
	if c.clients == 0 {
		c.clients = 1
	}
	if c.permits == 0 && c.rate == 0 {
		switch c.kind {
		case body, stream:
			c.permits = 20
		case upload:
			c.permits = 10
		case upgrade:
			c.permits = 40
		default:
			c.permits = 4
		}
		c.queue, c.wait = 2*c.permits, sec
	}
	if c.seconds == 0 {
		switch c.kind {
		case body, stream, upload:
			c.seconds = 80
		case upgrade:
			c.seconds = 120
		default:
			c.seconds = 30
		}
	}
	return c
}

// A family is cells that ask the same question.
type family struct {
	name, title, text string
	cells             func() []cell
}

const headlineText = `What each of them was before the parts were made to work together, in the same worlds with the library of commit 63ec0c4, is in the column *before*.`

var kinds = []kind{short, body, stream, upload, upgrade}

func clientsText(n int) string {
	if n == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", n)
}

func tiersText(n int) string {
	if n == 1 {
		return "1 tier"
	}
	return fmt.Sprintf("%d tiers", n)
}

var families = []family{
	{"headline", "Five meetings that did harm", headlineText, func() (cells []cell) {
		for _, h := range headlines {
			cells = append(cells, h.cell)
		}
		return cells
	}},
	{"load", "Load, below and above what the server can do", `From half of what the server can do to ten times as much, in each kind of request.`, func() (cells []cell) {
		for _, k := range kinds {
			for _, load := range []float64{0.5, 0.9, 1.1, 1.5, 2.5, 5, 10} {
				for _, clients := range []int{1, 10, 100} {
					cells = append(cells, cell{
						name: fmt.Sprintf("%s, load ×%g, %s", k, load, clientsText(clients)),
						kind: k, load: load, clients: clients,
					})
				}
			}
		}
		return cells
	}},
	{"rate", "Rate limits, and requests in bursts", `The server lets in so many requests a second and, at once, a tenth of that, at least one: the bucket. All clients share it, as those behind one address do.`, func() (cells []cell) {
		for _, rate := range []float64{1, 10, 100, 1000, 10000} {
			bucket := max(1, int(rate/10))
			seconds := map[float64]int{1: 120, 10: 60, 100: 20, 1000: 6, 10000: 2}[rate]
			for _, p := range []struct {
				name   string
				load   float64
				bursts int
			}{
				{"half the rate, one by one", 0.5, 0},
				{"half the rate, the bucket at once", 0.5, bucket},
				{"half the rate, one more than the bucket at once", 0.5, bucket + 1},
				{"half the rate, five buckets at once", 0.5, 5 * bucket},
				{"0.9 of the rate, one by one", 0.9, 0},
				{"twice the rate, one by one", 2, 0},
				{"ten times the rate, one by one", 10, 0},
			} {
				for _, clients := range []int{1, 10} {
					if p.load*rate > 5000 {
						continue
					}
					cells = append(cells, cell{
						name: fmt.Sprintf("%g a second, %s, %s", rate, p.name, clientsText(clients)),
						rate: rate, bucket: bucket, load: p.load, bursts: p.bursts, clients: clients, seconds: seconds,
						work: work{100 * time.Microsecond, 1},
					})
				}
			}
		}
		return cells
	}},
	{"hedge", "Hedged requests", `Ours sends a slow request a second time; plain does not.`, func() (cells []cell) {
		for _, h := range []struct {
			name string
			cfg  *hedge.Config
		}{{"no hedge", nil}, {"hedged when slow", &hedge.Config{}}, {"hedged after 10 ms", &hedge.Config{Delay: 10 * time.Millisecond}}} {
			for _, load := range []float64{0.5, 0.9, 1.5, 5} {
				for _, clients := range []int{1, 10} {
					for _, strag := range []bool{false, true} {
						c := cell{load: load, clients: clients, hedge: h.cfg, strag: strag}
						what := "all alike"
						if strag {
							what = "one in twenty takes ten times as long"
							c.work = work{100 * time.Millisecond, 1}
						}
						c.name = fmt.Sprintf("%s, %s, load ×%g, %s", what, h.name, load, clientsText(clients))
						cells = append(cells, c)
					}
				}
			}
			for _, k := range []kind{body, stream} {
				for _, load := range []float64{0.5, 0.9, 2.5} {
					cells = append(cells, cell{
						name: fmt.Sprintf("%s, %s, load ×%g", k, h.name, load), kind: k, load: load, hedge: h.cfg,
					})
				}
			}
		}
		return cells
	}},
	{"tiers", "Tiers", `The last server has the limit; those before it pass on, each with a client of its own. All tiers are ours, or all are plain.`, func() (cells []cell) {
		for _, tiers := range []int{1, 2, 3} {
			for _, load := range []float64{0.5, 0.9, 1.1, 1.5, 2.5, 5, 10} {
				for _, clients := range []int{1, 10} {
					cells = append(cells, cell{
						name:  fmt.Sprintf("%s, %s, load ×%g, %s", tiersText(tiers), short, load, clientsText(clients)),
						tiers: tiers, load: load, clients: clients,
					})
				}
			}
		}
		for _, k := range kinds[1:] {
			for _, tiers := range []int{2, 3} {
				for _, load := range []float64{0.5, 0.9, 2.5} {
					cells = append(cells, cell{
						name: fmt.Sprintf("%s, %s, load ×%g", tiersText(tiers), k, load), kind: k, tiers: tiers, load: load,
					})
				}
			}
		}
		return cells
	}},
	{"cause", "Something goes wrong, and is over", `The last server is away, or more requests come than it can answer, for a while.`, func() (cells []cell) {
		for _, w := range []struct {
			name string
			cause
		}{
			{"a restart of 1 s", cause{from: 20, to: 21, away: true}},
			{"the server away for 30 s", cause{from: 20, to: 50, away: true}},
			{"20 s of load ×2.5", cause{from: 20, to: 40, load: 2.5}},
			{"20 s of load ×10", cause{from: 20, to: 40, load: 10}},
		} {
			for _, load := range []float64{0.5, 0.9} {
				for _, clients := range []int{1, 10} {
					for _, tiers := range []int{1, 2, 3} {
						cells = append(cells, cell{
							name:  fmt.Sprintf("%s, %s, load ×%g, %s, %s", w.name, short, load, tiersText(tiers), clientsText(clients)),
							tiers: tiers, load: load, clients: clients, cause: w.cause, seconds: w.to + 30,
						})
					}
					for _, k := range kinds[1:] {
						c := cell{
							name: fmt.Sprintf("%s, %s, load ×%g, %s", w.name, k, load, clientsText(clients)),
							kind: k, load: load, clients: clients, cause: w.cause, seconds: w.to + 60,
						}
						if load == 0.9 { // once is enough
							continue
						}
						cells = append(cells, c)
					}
				}
			}
		}
		return cells
	}},
	{"failures", "A share of the requests fails at once", `The last server answers them with 500 without any work; the same ones on both sides. They count as requests that could not be answered.`, func() (cells []cell) {
		for _, failing := range []float64{0.02, 0.3} {
			for _, k := range kinds {
				for _, load := range []float64{0.5, 0.9, 2.5} {
					for _, clients := range []int{1, 10} {
						cells = append(cells, cell{
							name: fmt.Sprintf("%g %% fail, %s, load ×%g, %s", failing*100, k, load, clientsText(clients)),
							kind: k, load: load, clients: clients, failing: failing,
						})
					}
				}
			}
			for _, tiers := range []int{2, 3} {
				for _, load := range []float64{0.5, 2.5} {
					cells = append(cells, cell{
						name: fmt.Sprintf("%g %% fail, %s, load ×%g, %s", failing*100, short, load, tiersText(tiers)),
						load: load, tiers: tiers, failing: failing,
					})
				}
			}
		}
		return cells
	}},
	{"queue", "A queue of 100 before 10 permits", `A request takes 200 ms, so who comes last into a full queue waits for 2 s: longer than the client has, as long, or not as long.`, func() (cells []cell) {
		for _, patience := range []time.Duration{sec, 2 * sec, 4 * sec} {
			for _, load := range []float64{0.9, 1.1, 1.5, 2.5, 5, 10} {
				for _, clients := range []int{1, 10, 100} {
					cells = append(cells, cell{
						name: fmt.Sprintf("clients wait for %v, load ×%g, %s", patience, load, clientsText(clients)),
						load: load, clients: clients, patience: patience,
						permits: 10, queue: 100, seconds: 20,
					})
				}
			}
		}
		return cells
	}},
}

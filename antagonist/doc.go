// Package antagonist answers, in a test, what happens if load doubles on Friday.
//
// It runs a service's real client code, with or without stability policies,
// against modelled servers or real HTTP handlers, under open-loop load and a
// timeline of faults, in virtual time: a minute of traffic at a thousand
// requests a second passes in about a second, and a seed gives the same result
// every time.
//
//	func TestExampleFriday(t *testing.T) {
//		antagonist.Run(t, antagonist.Scenario{
//			For:  20 * time.Second,
//			Load: antagonist.Load{{Rate: antagonist.Constant(500), Patience: time.Second}}.Times(2),
//			Servers: []antagonist.Server{{
//				Name: "payments", Workers: 60, Service: antagonist.Exponential(40 * time.Millisecond),
//			}},
//			Client: func(w *antagonist.World) antagonist.Client {
//				return func(ctx context.Context, _ *antagonist.Request) error {
//					ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
//					defer cancel()
//					return w.Call(ctx, "payments")
//				}
//			},
//			Require: []antagonist.Requirement{
//				antagonist.Goodput(0.99),
//				antagonist.Latency(antagonist.P99, 300*time.Millisecond),
//			},
//		})
//	}
//
// A [Scenario] says what load comes, which servers there are, what goes wrong
// with them when, and what is required. Its Client is the code under test: it
// gets one request at a time, on a goroutine of its own, and calls servers by
// [World.Call], or over HTTP through [World.Transport]. [Run] runs it once,
// [Compare] once for each [Variant], under the same load with the same random
// draws. A requirement that does not hold fails the test with the seconds in
// which it did not and a chart; with the flag -antagonist.report DIR, or
// ANTAGONIST_REPORT=DIR in the environment, every run also leaves a page of
// HTML with plots of all variants.
//
// # Time
//
// A run lives inside a [testing/synctest] bubble. Time there stands still while
// any goroutine runs, and then jumps to the next instant for which one waits.
// What the code under test computes costs no virtual time; what it waits for
// costs no real time. Therefore the code must wait only on what is in the
// bubble: channels, timers, condition variables and wait groups made during the
// run, not sockets, files or channels of another test. All goroutines must end
// with the run; those in the background watch [World.Context].
//
// # The same numbers every time
//
// Starts and answers each get a nanosecond of their own, so that goroutines of
// different requests do not run side by side, and what is drawn at random
// depends on the seed, the request and the number of the call alone. What is
// left to chance is what the code under test leaves to it: its own randomness
// (draw it from [World.Rand] or [Request.Rand], and give [World.Jitter] to the
// retries and the breakers of package stability), the order of map iteration, a
// select in which several cases are ready, goroutines that one request starts
// at the same instant, and timers of one request that end in the same
// nanosecond, such as a total timeout of a second and the last of four attempts
// of 250ms. Over HTTP, what a server draws depends on the number of the call that
// reaches it, so that one call more changes what later ones draw.
// [Second].Goroutines is measured in the process, and can differ by a few.
package antagonist

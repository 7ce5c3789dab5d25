package bench

import "fmt"

// Reasons are what stands in the way of goals, by their names, for the case that they are
// not met. This is the one place where they stand: a goal that is not met and has none fails
// the report.
var Reasons = map[string]string{
	"breaker, closed, 10 % failures":               "Each failure sums the window over the counters of all cores, to know whether the ratio is reached, and so reads what the others have just written; a success writes its own core's and reads nothing.",
	"breaker, open, refusal":                       "Of the refusal, a third is the atomic operation that counts it, and the rest says who refused, until when, and to which span; gobreaker returns a bare error and counts nothing.",
	"bulkhead, free":                               "The semaphore locks and unlocks twice, which without contention is four atomic operations; ours takes two, one to take the permit and one to give it back and count how the call ended, which the semaphore does not.",
	"bulkhead, full, refusal":                      "`TryAcquire` is a mutex locked and unlocked: two atomic operations, and nothing that counts or tells. Ours counts the refusal, which is one atomic operation and as such half of the semaphore's time, and looks for a span to tell it to.",
	"bulkhead, contended":                          "A channel hands over inside the scheduler, from one goroutine to the next, under the one lock that it has. Ours has a lock of its own around the channel that all wait on, so that MaxWait, deadlines and SetLimit can take part. And it makes an object for each call that waits, by which a call within that call is known, so that no call waits for itself.",
	"rate limit, 10⁵ keys":                         "With so many keys it is the memory that is measured: a slot of the table and two adjacent cache lines of the member, in no cache. x/time/rate reads its clock before it touches the limiter, so that this wait overlaps with the next one's; ours reads it under the lock, so that nobody who is held up on the way takes a token of a time long gone. From run to run the ratio is from 0.7 to 1.2.",
	"retry + breaker + limit + bulkhead + timeout": "One clock reading (the deadline's), two allocations (the attempt's mark, the timeout's context) and nine or ten atomic operations that count are about all of it.",
	"the same without timeout":                     "The hand-made stack has no budget, marks no attempt and counts nothing. Ours makes nine atomic operations and one allocation for that, which alone are about a third of the hand-made stack's time on one core; on many cores it is the locks that cost.",

	getGoal:      httpReason,
	postGoal:     httpReason,
	uploadGoal:   httpReason + " A file is sent by the system in both, from page cache to socket: what the times vary by is that.",
	downloadGoal: httpReason + " Each Read of the body also notes that the caller waits for the server, and no longer: that is how a stall is told from a caller who is slow.",

	UnderLoad(1):  loadReason,
	UnderLoad(8):  loadReason,
	UnderLoad(64): loadReason,
}

const (
	httpReason = "Ours sends two header fields, the deadline and the number of the attempt, that net/http sorts, checks and writes: about half of the difference, in instructions (`make instructions`). The rest finds the host's gates, passes them, and holds a permit until the body ends."
	loadReason = "The peer has no guard at all. `http.Client{Timeout}` in parentheses is what one timer costs beside it; ours has that, the gates, and two header fields, which the server in the same process reads as well."
)

// UnderLoad is the name of the goal of HTTP with that many requests at a time.
func UnderLoad(concurrency int) string {
	return fmt.Sprintf("HTTP, %d at a time, against an `http.Client` without any timeout", concurrency)
}

package hedge

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// latencies keeps a percentile of the last ones, up to date with each. They are
// kept in buckets as wide as a sixteenth of their lower end, as HdrHistogram does;
// the percentile is the upper end of its bucket, so never too short and at most a
// sixteenth too long.
type latencies struct {
	key string

	mu     sync.Mutex
	share  float64
	recent [memory]uint16 // the bucket of each, a ring
	next   int
	n      int
	counts [buckets]uint16
	// at is the bucket of the percentile, and below how many are in lower ones. A
	// new latency moves it by a bucket or two, so that nothing is sorted or summed.
	at, below int

	present atomic.Int64 // the upper end of bucket at; 0: too few are known
}

const (
	memory  = 1024
	enough  = 20
	buckets = 60 * 16
)

// setShare makes another percentile of the same latencies the one that is kept, from the
// next latency on. A share of 0 changes nothing: the delay is fixed.
func (l *latencies) setShare(share float64) {
	if share == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = share
}

func (l *latencies) add(d time.Duration) {
	b := bucketOf(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n < memory {
		l.n++
	} else {
		l.count(l.recent[l.next], -1)
	}
	l.recent[l.next] = b
	l.next = (l.next + 1) % memory
	l.count(b, 1)

	// The rank of the percentile, from 1 to n.
	rank := int(math.Ceil(l.share * float64(l.n)))
	for l.below >= rank {
		l.at--
		l.below -= int(l.counts[l.at])
	}
	for l.below+int(l.counts[l.at]) < rank {
		l.below += int(l.counts[l.at])
		l.at++
	}
	if l.n >= enough {
		l.present.Store(int64(max(upperEnd(l.at), 1)))
	}
}

func (l *latencies) count(b uint16, n int) {
	l.counts[b] += uint16(n) //nolint:gosec // n is 1 or -1, and the count within 0 and memory.
	if int(b) < l.at {
		l.below += n
	}
}

// percentile returns the latency that the share did not exceed, and whether enough
// are known to tell.
func (l *latencies) percentile() (time.Duration, bool) {
	d := time.Duration(l.present.Load())
	return d, d > 0
}

// bucketOf returns the bucket of a latency. The first 16 are a nanosecond wide;
// then each doubling has 16.
func bucketOf(d time.Duration) uint16 {
	n := uint64(max(d, 0)) //nolint:gosec // Not negative.
	shift := max(bits.Len64(n)-5, 0)
	return uint16(uint64(16*shift) + n>>shift) //nolint:gosec // At most 16*58 + 31.
}

// upperEnd returns the longest latency of a bucket.
func upperEnd(b int) time.Duration {
	shift := max(b/16-1, 0)
	return time.Duration((int64(b-16*shift)+1)<<shift - 1)
}

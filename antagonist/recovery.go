package antagonist

import "time"

const (
	recoveredShare   = 0.95 // of the goodput before
	recoveredOver    = 3    // seconds
	metastableWithin = 10   // seconds without recovery
)

// recovery works out whether goodput came back after the last disturbance.
func (r *Result) recovery() {
	from, to, disturbed := r.Scenario.disturbance()
	if r.Disturbed = disturbed; !disturbed {
		return
	}
	r.RecoveredAfter, r.Recovered = r.Series.recovery(from, to)
	left := r.Scenario.For - to
	r.Metastable = !r.Recovered && left >= metastableWithin*time.Second
}

// recovery returns how long after a disturbance goodput was back.
func (s *Series) recovery(from, to time.Duration) (after time.Duration, ok bool) {
	n := len(s.Seconds)
	before := s.sum(0, int(from/time.Second)).Goodput() // 1 where trouble begins at once
	enough := recoveredShare * before
	for i := int((to + time.Second - 1) / time.Second); i < n; i++ {
		if s.sum(i, min(i+recoveredOver, n)).Goodput() >= enough && s.sum(i, n).Goodput() >= enough {
			return time.Duration(i)*time.Second - to, true
		}
	}
	return 0, false
}

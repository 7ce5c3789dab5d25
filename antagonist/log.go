package antagonist

import (
	"errors"
	"math"
	"runtime"
	"time"
)

// requestLog keeps what became of the requests.
type requestLog struct {
	scenario Scenario
	classes  []*Series // as in the scenario's load
	open     map[*Request]struct{}
	flying   []int // by class
	inFlight int
	peak     []int // of all classes together, by second
	idle     int   // goroutines before the run
	routines []int // peak above idle, by second
}

func newRequestLog(s Scenario, seconds int) *requestLog {
	l := &requestLog{
		scenario: s,
		open:     make(map[*Request]struct{}),
		flying:   make([]int, len(s.Load)),
		peak:     make([]int, seconds),
		idle:     runtime.NumGoroutine(),
		routines: make([]int, seconds),
	}
	for _, c := range s.Load {
		l.classes = append(l.classes, newSeries(c.Name, seconds))
	}
	return l
}

func (l *requestLog) classOf(r *Request) int { return int(r.id >> 40) }

// second is the index of the second in which an instant lies; ok is false once
// no more load arrives.
func second(now int64, seconds int) (i int, ok bool) {
	i = int(now / int64(time.Second))
	return i, i < seconds
}

// secondOf is the second in which a request was due to start. One whose instant
// was taken may have started a few nanoseconds after the last.
func (l *requestLog) secondOf(r *Request) int {
	i, _ := second(r.start, len(l.peak))
	return min(i, len(l.peak)-1)
}

func (l *requestLog) begin(r *Request) {
	class := l.classOf(r)
	l.open[r] = struct{}{}
	l.inFlight++
	l.flying[class]++
	l.classes[class].Seconds[l.secondOf(r)].Offered++
	l.gauge(r.start)
}

// gauge raises the peaks of the present second to what is in flight.
func (l *requestLog) gauge(now int64) {
	i, ok := second(now, len(l.peak))
	if !ok {
		return
	}
	l.peak[i] = max(l.peak[i], l.inFlight)
	for class, n := range l.flying {
		s := &l.classes[class].Seconds[i]
		s.InFlight = max(s.InFlight, n)
	}
}

func (l *requestLog) tick(now int64) { l.gauge(now) }

func (l *requestLog) goroutines(now int64) {
	if i, ok := second(now, len(l.routines)); ok {
		l.routines[i] = max(l.routines[i], runtime.NumGoroutine()-l.idle)
	}
}

func (l *requestLog) end(r *Request, err error, now int64) {
	if _, open := l.open[r]; !open {
		return
	}
	delete(l.open, r)
	class := l.classOf(r)
	l.inFlight--
	l.flying[class]--
	series := l.classes[class]
	i := l.secondOf(r)
	counts := &series.Seconds[i].Counts
	switch {
	case r.deadline != 0 && now >= r.deadline || errors.Is(err, ErrEnded):
		counts.Late++
	case err == nil:
		counts.Good++
	case l.scenario.Refused != nil && l.scenario.Refused(err), l.scenario.Refused == nil && errors.Is(err, ErrRefused):
		counts.Refused++
		return
	default:
		counts.Failed++
		return
	}
	series.latencies[i] = append(series.latencies[i], microseconds(now-r.start))
}

// close counts those that have no answer by the end of the run.
func (l *requestLog) close(now int64) {
	for r := range l.open {
		l.end(r, ErrEnded, now)
	}
}

func microseconds(ns int64) uint32 {
	return uint32(min(ns/1000, math.MaxUint32))
}

// serverLog keeps what one server saw.
type serverLog struct {
	seconds []ServerSecond
	after   ServerSecond // what came after the last second
}

func newServerLog(seconds int) *serverLog {
	return &serverLog{seconds: make([]ServerSecond, seconds)}
}

func (l *serverLog) at(now int64) *ServerSecond {
	if i, ok := second(now, len(l.seconds)); ok {
		return &l.seconds[i]
	}
	return &l.after
}

func (l *serverLog) inService(now int64, n int) {
	s := l.at(now)
	s.InService = max(s.InService, n)
}

func (l *serverLog) waiting(now int64, n int) {
	s := l.at(now)
	s.Waiting = max(s.Waiting, n)
}

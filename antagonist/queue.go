package antagonist

// queue holds the calls that wait for a worker of one station.
type queue struct {
	Queue
	calls     []*call // oldest first, from head on
	head      int
	waiting   int   // calls that have not left
	lastEmpty int64 // when it was last seen empty
}

func (q *queue) full() bool {
	return q.Max < 0 || q.Max > 0 && q.waiting >= q.Max
}

func (q *queue) push(c *call, now int64) {
	if q.waiting == 0 {
		q.calls, q.head = q.calls[:0], 0
		q.lastEmpty = now
	}
	c.mayWait = q.CoDel.interval().Nanoseconds()
	if q.standing(now) {
		c.mayWait = q.CoDel.Target.Nanoseconds()
	}
	c.state = waiting
	q.calls = append(q.calls, c)
	q.waiting++
}

// standing reports whether the queue has not been empty lately, which tells
// overload from a burst.
func (q *queue) standing(now int64) bool {
	return now-q.lastEmpty > q.CoDel.interval().Nanoseconds()
}

// pop takes the next call out, or returns nil. The call may have to be dropped;
// see expired.
func (q *queue) pop(now int64) *call {
	for q.waiting > 0 {
		var c *call
		if q.Order == LIFO || q.Order == AdaptiveLIFO && q.standing(now) {
			last := len(q.calls) - 1
			c, q.calls[last] = q.calls[last], nil
			q.calls = q.calls[:last]
		} else {
			c, q.calls[q.head] = q.calls[q.head], nil
			q.head++
		}
		if c.state != waiting {
			continue // it left, and was counted off then
		}
		q.waiting--
		if q.waiting == 0 {
			q.lastEmpty = now
		}
		q.compact()
		return c
	}
	return nil
}

// leave counts off a call that goes before its turn.
func (q *queue) leave(now int64) {
	if q.waiting--; q.waiting == 0 {
		q.lastEmpty = now
	}
}

// compact gives the memory of served calls back, at a cost that is constant for
// each call.
func (q *queue) compact() {
	if q.head > 64 && q.head > len(q.calls)/2 {
		n := copy(q.calls, q.calls[q.head:])
		clear(q.calls[n:])
		q.calls, q.head = q.calls[:n], 0
	}
}

// expired reports whether a call that comes out of the queue is to be dropped.
func (q *queue) expired(c *call, now int64) bool {
	if q.DropExpired && c.deadline != 0 && now >= c.deadline {
		return true
	}
	return q.CoDel.Target > 0 && now-c.came > c.mayWait
}

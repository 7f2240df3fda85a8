package stack

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// timers is a binary min-heap of connections by their next deadline. It is lazy:
// a deadline that moves away, as a retransmission timer does with every ACK,
// leaves the heap as it is, and is looked up when the old one has come.
type timers struct{ heap []timer }

type timer struct {
	when mono.Time
	conn *tcp.Conn // conn.TimerIndex is its place, -1 if it has none
}

// next is the earliest time at which due has something to say, 0 if never.
func (t *timers) next() mono.Time {
	if len(t.heap) == 0 {
		return 0
	}
	return t.heap[0].when
}

// set makes c due at when, unless it is due earlier already. 0 is never.
func (t *timers) set(c *tcp.Conn, when mono.Time) {
	switch i := int(c.TimerIndex); {
	case when == 0:
	case i < 0:
		t.heap = append(t.heap, timer{when, c})
		t.up(len(t.heap) - 1)
	case when < t.heap[i].when:
		t.heap[i].when = when
		t.up(i)
	}
}

// due takes a connection out of the heap whose deadline has come; nil if there is
// none. Those with later deadlines than the heap believed are put right.
func (t *timers) due(now mono.Time) *tcp.Conn {
	for len(t.heap) > 0 && t.heap[0].when <= now {
		c := t.heap[0].conn
		when := c.Deadline()
		if when > now {
			t.heap[0].when = when
			t.down(0)
			continue
		}
		t.remove(c)
		if when != 0 {
			return c
		}
	}
	return nil
}

// remove takes c out of the heap, if it is there.
func (t *timers) remove(c *tcp.Conn) {
	i := int(c.TimerIndex)
	if i < 0 {
		return
	}
	c.TimerIndex = -1
	last := len(t.heap) - 1
	moved := t.heap[last]
	t.heap[last] = timer{}
	t.heap = t.heap[:last]
	if i == last {
		return
	}
	t.heap[i] = moved
	t.down(i)
	t.up(int(moved.conn.TimerIndex))
}

// up moves the entry at i towards the root, as far as it belongs.
func (t *timers) up(i int) {
	e := t.heap[i]
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[parent].when <= e.when {
			break
		}
		t.place(i, t.heap[parent])
		i = parent
	}
	t.place(i, e)
}

// down moves the entry at i away from the root, as far as it belongs.
func (t *timers) down(i int) {
	e := t.heap[i]
	for {
		child := 2*i + 1
		if child >= len(t.heap) {
			break
		}
		if right := child + 1; right < len(t.heap) && t.heap[right].when < t.heap[child].when {
			child = right
		}
		if e.when <= t.heap[child].when {
			break
		}
		t.place(i, t.heap[child])
		i = child
	}
	t.place(i, e)
}

func (t *timers) place(i int, e timer) {
	t.heap[i] = e
	e.conn.TimerIndex = int32(i)
}

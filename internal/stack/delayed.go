package stack

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// delayed are the connections with a delayed ACK, in the order in which these are due: as all
// wait equally long that is the order in which they began, so that nothing has to be sorted. With
// thousands of connections, of which each has one now and then, a heap would be where most of the
// time goes, since each move in it writes to another connection. ACKs that went out meanwhile stay
// in the list until their time has come.
type delayed struct {
	list []timer
	head int // index of the first; those before it are empty
}

// delayedLook is how many entries ahead a connection begins to be loaded.
const delayedLook = 4

// add enters c, whose ACK is due at when, and reports whether it could: it comes behind
// all others.
func (d *delayed) add(c *tcp.Conn, when mono.Time) bool {
	if n := len(d.list); n > d.head && when < d.list[n-1].when {
		return false
	}
	if d.head > len(d.list)/2 {
		n := copy(d.list, d.list[d.head:])
		clear(d.list[n:])
		d.list, d.head = d.list[:n], 0
	}
	d.list = append(d.list, timer{when, c})
	return true
}

// next is when the first of them is due, 0 if there is none.
func (d *delayed) next() mono.Time {
	for d.head < len(d.list) {
		if e := &d.list[d.head]; e.conn.DelayedAckAt(e.when) {
			return e.when
		}
		d.drop()
	}
	return 0
}

// due takes out a connection whose ACK is due; nil if there is none.
func (d *delayed) due(now mono.Time) *tcp.Conn {
	for d.head < len(d.list) && d.list[d.head].when <= now {
		if i := d.head + delayedLook; i < len(d.list) {
			d.list[i].conn.PrefetchTimers()
		}
		e := d.list[d.head]
		d.drop()
		if e.conn.DelayedAckAt(e.when) {
			return e.conn
		}
	}
	return nil
}

func (d *delayed) drop() {
	d.list[d.head] = timer{} // the connection may be gone
	d.head++
}

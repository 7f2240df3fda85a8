//go:build linux

package kernel

import (
	"io"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

func deadlineNow() time.Time { return time.Now().Add(patience) }

// completions serves a listener and its connections from one goroutine.
type completions struct {
	w       *world
	ln      engine.Listener
	streams map[uint64]*verified
	ended   int
	iovs    []buf.Iov
	keep    bool // connections are not closed at their end
}

// verified is a connection of which bytes up to off were received and right.
type verified struct {
	c   engine.Conn
	off int64
}

func newCompletions(w *world, ln engine.Listener) *completions {
	return &completions{w: w, ln: ln, streams: map[uint64]*verified{}, iovs: make([]buf.Iov, 64)}
}

// step waits for completions and handles them. A connection is closed at its
// end.
func (r *completions) step() {
	w := r.w
	err := w.cq.Next(func(s *sockq.Source) (again, more bool) {
		if s.UserData() == 0 {
			c, ok, more, err := r.ln.Backlog().Poll()
			w.ok(err)
			if ok {
				id := uint64(len(r.streams) + 1)
				r.streams[id] = &verified{c: c}
				if !r.keep {
					w.Cleanup(func() { closeConn(c) })
				}
				c.Queue().Arm(w.cq, id)
				c.Queue().Raise()
			}
			return more, true
		}
		v := r.streams[s.UserData()]
		n, _, more, err := v.c.Queue().Poll(r.iovs, 1<<30)
		v.off = w.check(r.iovs[:n], v.off)
		w.giveBack(r.iovs[:n])
		if err == io.EOF {
			r.ended++
			v.c.Queue().Disarm()
			if !r.keep {
				w.ok(closeConn(v.c))
			}
			return false, true
		}
		w.ok(err)
		return more, true
	})
	w.ok(err)
}

package tcp

import "github.com/zctap/zctap/internal/prefetch"

// frontLines is the cache lines at the front of a Conn that a segment in order needs, and
// its ACK.
const frontLines = 6

// timersLine is which of them the timers lie in.
const timersLine = 5

// Prefetch begins to load what of c a segment in order will need.
func (c *Conn) Prefetch() { prefetch.Lines(c, 0, frontLines) }

// PrefetchQueue is Prefetch for what lies behind pointers, which Prefetch has loaded, for so
// many segments.
func (c *Conn) PrefetchQueue(segments int) {
	if c.Recv != nil {
		prefetch.Lines(c.account, 0, 1)
		c.Recv.Prefetch(segments)
	}
}

// PrefetchTimers begins to load the line that the timers lie in.
func (c *Conn) PrefetchTimers() { prefetch.Lines(c, timersLine, 1) }

//go:build linux

package kernel

import (
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
)

const (
	// smallDatagram bounds, in bytes, what may gather: the receive buffer has room for
	// dozens of such, and what is larger is worth a wake.
	smallDatagram = 2048
	// datagramMemory is what the kernel charges a receive buffer for a small datagram, in
	// bytes: at most a page and its sk_buff, where drivers receive into pages.
	datagramMemory = 4096 + 256
)

// A gathering lets datagrams gather in the kernel's receive buffer, where all are small
// and nothing is sent meanwhile: who waits for an answer sends no more until it comes.
// The loop's, but for room.
type gathering struct {
	engine.Gathering
	room atomic.Int64 // bytes of memory for what waits in the kernel; any goroutine sets it

	came int    // datagrams since rest
	big  bool   // one of them was not small
	sent uint64 // bytes that had been sent by rest
	now  bool   // in loop.gathers
	end  mono.Time
}

// target is how many datagrams are to gather: half of what there is room for.
func (g *gathering) target() int { return int(g.room.Load() / 2 / datagramMemory) }

// took notes a datagram of n bytes.
func (g *gathering) took(n int) {
	g.came++
	g.big = g.big || n > smallDatagram
}

// rest notes that all that came was taken, and returns for how long to let more gather.
func (g *gathering) rest(now mono.Time, sent uint64) time.Duration {
	if g.big || sent != g.sent {
		g.Interrupt()
	} else {
		g.Received(now, g.came)
	}
	g.came, g.big, g.sent = 0, false, sent
	g.Target = g.target()
	return g.Take(now)
}

// gather leaves s alone for a while, if what it received says so: then the backend is
// to ask the kernel for nothing, and will be told to receive again.
func (l *loop) gather(s *socket) bool {
	g := &s.packet.gathering
	now := mono.Now()
	d := g.rest(now, l.stats.sent.Load())
	if d == 0 {
		return false
	}
	l.stats.gathered.Add(1)
	g.end = now.Add(d)
	if !g.now {
		g.now = true
		l.gathers = append(l.gathers, s)
	}
	return true
}

// resumeGathered has those received from whose time is over.
func (l *loop) resumeGathered() {
	if len(l.gathers) == 0 {
		return
	}
	now := mono.Now()
	kept := l.gathers[:0]
	for _, s := range l.gathers {
		if g := &s.packet.gathering; !s.detaching && now.Before(g.end) {
			kept = append(kept, s)
			continue
		}
		s.packet.gathering.now = false
		if !s.detaching {
			l.back.receive(s)
		}
	}
	clear(l.gathers[len(kept):])
	l.gathers = kept
}

// gatherPatience is how long until the first of those that gather is to be received
// from; negative: none gathers.
func (l *loop) gatherPatience() time.Duration {
	if len(l.gathers) == 0 {
		return -1
	}
	first := l.gathers[0].packet.gathering.end
	for _, s := range l.gathers[1:] {
		first = min(first, s.packet.gathering.end)
	}
	return max(first.Sub(mono.Now()), 0)
}

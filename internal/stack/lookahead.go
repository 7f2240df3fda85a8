package stack

import (
	"encoding/binary"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/prefetch"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// How many runs of frames of one flow each stage is ahead of the frame at hand: each far enough
// that what the one before it has begun to load has come.
const (
	queueAhead = 2
	connAhead  = 4
	slotAhead  = 8
	lookRuns   = 2 * slotAhead // a power of two
	lookMask   = lookRuns - 1
)

// lookFlows is the connections from which on to look ahead pays: the lines of fewer, some 15
// each, are in a second-level cache of 1 MiB.
const lookFlows = 1024

// lookahead finds the connections of a batch's frames some time before these are taken in, and
// has the cache lines loaded that each will need: first the table's slot, then the connection
// there, then its queue. So they come while other frames are taken in (a software pipeline, as
// of group prefetching: Chen, Ailamaki, Gibbons and Mowry, "Improving hash join performance
// through prefetching", 2004). What is found is a guess, by the hash alone.
type lookahead struct {
	frames []driver.Frame    // the batch
	at     int               // index of the first that was not looked at
	last   glance            // of the last run's first
	length int               // of the run before it, but for its first
	runs   [lookRuns]lookRun // the last ones; run i is at i&lookMask
	// How many runs were come by, and how many of these had slot, connection and
	// queue loaded, and were reached by the frame at hand.
	hashed, found, queued, reached int
	changes                        uint64 // the table's, when it was asked
}

// A lookRun is frames of one flow, one behind the other.
type lookRun struct {
	first int // index of the first in the batch
	hash  uint64
	conn  *tcp.Conn // nil if there is none
}

// begin looks at the first of a batch's frames.
func (l *lookahead) begin(s *Stack, frames []driver.Frame) {
	l.frames, l.at = frames, 0
	l.hashed, l.found, l.queued, l.reached = 0, 0, 0, 0
	l.changes = s.conns.changes
	for range slotAhead {
		l.scan(s)
	}
	for range connAhead {
		l.find(s)
	}
	for range queueAhead {
		l.loadQueue()
	}
}

// step has each stage of the pipeline go on by one run. Each time the same is done, so that the CPU
// foresees the branches.
func (l *lookahead) step(s *Stack) {
	l.scan(s)
	l.find(s)
	l.loadQueue()
}

// scan goes on to the next run, if there is one, and has its slot loaded.
func (l *lookahead) scan(s *Stack) {
	if l.at == len(l.frames) {
		return
	}
	i := l.at
	if l.hashed > 0 {
		i += l.rest(s)
	}
	for ; i < len(l.frames); i++ {
		ends := s.ends(&l.frames[i])
		if ends == nil {
			continue
		}
		l.last.at(ends, s.caps.LinkHeader)
		r := &l.runs[l.hashed&lookMask]
		r.first, r.hash, r.conn = i, s.conns.hasher.HashEnds(ends, wire.ProtoTCP), nil
		prefetch.Lines(s.conns.home(r.hash), 0, 1)
		l.hashed++
		i++
		break
	}
	l.at = i
}

// find looks into the slot of the next run, if there is one, and has its connection loaded.
func (l *lookahead) find(s *Stack) {
	if l.found == l.hashed {
		return
	}
	r := &l.runs[l.found&lookMask]
	if r.conn = s.conns.likely(r.hash); r.conn != nil {
		r.conn.Prefetch()
	}
	l.found++
}

// loadQueue has the queue of the next run's connection loaded, if there is one.
func (l *lookahead) loadQueue() {
	k := l.queued
	if k == l.found {
		return
	}
	r, end := &l.runs[k&lookMask], l.at
	if k+1 < l.hashed {
		end = l.runs[(k+1)&lookMask].first
	}
	if r.conn != nil {
		r.conn.PrefetchQueue(end - r.first)
	}
	l.queued++
}

// rest is how many of the next frames are of the last run: as many as of the one before it, if
// that run ends there, too. Else it looks at some only, by steps that become shorter where the run
// ends: one of another flow between them costs no more than a guess.
func (l *lookahead) rest(s *Stack) int {
	n := l.length
	if (n == 0 || l.same(s, n-1)) && !l.same(s, n) {
		return n
	}
	n = 0
	if l.same(s, 0) {
		step := 8
		for l.same(s, n+step) {
			n += step
		}
		for step /= 2; step > 0; step /= 2 {
			if l.same(s, n+step) {
				n += step
			}
		}
		n++
	}
	l.length = n
	return n
}

// same reports whether there is an i-th of the next frames, and it looks as the last run's first.
func (l *lookahead) same(s *Stack, i int) bool {
	i += l.at
	return i < len(l.frames) && l.last.of(s.first(&l.frames[i]))
}

// conn is the connection of s with key, which the i-th frame of the batch has; nil if there
// is none.
func (l *lookahead) conn(s *Stack, i int, key *wire.Tuple) *tcp.Conn {
	if l.hashed > 0 {
		if l.changes != s.conns.changes {
			l.again(s)
		}
		l.reach(s, i)
		if l.reached > 0 {
			if c := l.runs[(l.reached-1)&lookMask].conn; c != nil && *c.Tuple() == *key {
				return c
			}
		}
	}
	return s.conns.get(key)
}

// reach says that the i-th frame of the batch is at hand.
func (l *lookahead) reach(s *Stack, i int) {
	l.at = max(l.at, i) // what lies before was not TCP, and may be others' by now
	for l.reached < l.hashed && l.runs[l.reached&lookMask].first <= i {
		l.step(s)
		l.reached++
	}
}

// again finds what was found, in a table that has changed: what was there may be forgotten.
func (l *lookahead) again(s *Stack) {
	l.changes = s.conns.changes
	for i := max(l.reached-1, 0); i < l.found; i++ {
		r := &l.runs[i&lookMask]
		r.conn = s.conns.likely(r.hash)
	}
}

// done forgets what was found: the connections may be gone before the next batch.
func (l *lookahead) done() {
	if l.hashed > 0 {
		clear(l.runs[:min(l.hashed, lookRuns)])
		l.frames, l.hashed = nil, 0
	}
}

// A glance is what tells neighbours in a batch apart: of a flow's ends, in IPv6 not all; and
// where in a frame they lie.
type glance struct {
	addrs            uint64
	ports            uint32
	addrsAt, portsAt int
}

// at makes g a glance at ends, which lie behind link bytes and what of the IP header is before them.
func (g *glance) at(ends []byte, link int) {
	if len(ends) == ends4Len {
		at := link + ends4
		g.addrs, g.ports = binary.LittleEndian.Uint64(ends), binary.LittleEndian.Uint32(ends[8:])
		g.addrsAt, g.portsAt = at, at+8
		return
	}
	at := link + ends6
	g.addrs, g.ports = binary.LittleEndian.Uint64(ends[8:]), binary.LittleEndian.Uint32(ends[32:])
	g.addrsAt, g.portsAt = at+8, at+32
}

// of reports whether a frame that begins with b looks the same.
func (g *glance) of(b []byte) bool {
	p, a := g.portsAt, g.addrsAt
	return len(b) >= p+4 && binary.LittleEndian.Uint32(b[p:p+4:p+4]) == g.ports && binary.LittleEndian.Uint64(b[a:a+8:a+8]) == g.addrs
}

// Where the ends of a flow lie: addresses, and behind them ports, if an IPv4 header has no
// options.
const (
	ends4, ends4Len = 12, wire.Ends4Len
	ends6, ends6Len = 8, wire.Ends6Len
)

// ends are the bytes of f that say which flow it is of, if it is an ordinary TCP segment;
// nil if not. Nothing else of it was looked at yet.
func (s *Stack) ends(f *driver.Frame) []byte {
	b := s.first(f)
	if len(b) < s.caps.LinkHeader+ends6+ends6Len {
		return nil // too short for IPv6; of IPv4 an ACK without options
	}
	h := (*[ends6 + ends6Len]byte)(b[s.caps.LinkHeader:]) // of a length that the compiler knows
	switch {
	case h[0] == 4<<4|wire.IPv4HeaderLen/4 && h[9] == wire.ProtoTCP:
		return h[ends4 : ends4+ends4Len : ends4+ends4Len]
	case h[0]>>4 == 6 && h[6] == wire.ProtoTCP:
		return h[ends6 : ends6+ends6Len : ends6+ends6Len]
	}
	return nil
}

// first is the first piece of f.
func (s *Stack) first(f *driver.Frame) []byte {
	if len(f.Head) == 0 && len(f.Frags) > 0 {
		return s.pool.Region().View(f.Frags[0])
	}
	return f.Head
}

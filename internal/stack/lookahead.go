package stack

import (
	"encoding/binary"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/prefetch"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// How many runs of frames of one flow each step is ahead of the frame at hand: each far enough
// that what the one before it has begun to load has come.
const (
	queueAhead = 2
	connAhead  = 4
	slotAhead  = 8
	lag        = 3             // in the beginning
	lookRuns   = 2 * slotAhead // a power of two
)

// lookFlows is the connections from which on to look ahead pays: the lines of fewer are in
// the second-level cache.
const lookFlows = 512

// lookahead finds the connections of a batch's frames some time before these are taken in, and
// has the cache lines loaded that each will need: first the table's slot, then the connection
// there, then its queue. So they come while other frames are taken in (a software pipeline, as
// of group prefetching: Chen, Ailamaki, Gibbons and Mowry, "Improving hash join performance
// through prefetching", 2004). What is found is a guess, by the hash alone.
type lookahead struct {
	frames []driver.Frame    // of the batch, that were not looked at
	at     int               // index in the batch of the first of them
	last   glance            // of the one before it
	runs   [lookRuns]lookRun // the last ones; run i is at i%lookRuns
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
	l.frames, l.at, l.last = frames, 0, glance{}
	l.hashed, l.found, l.queued, l.reached = 0, 0, 0, 0
	l.changes = s.conns.changes
	l.advance(s)
}

// advance has each step do what it is due, now that reached runs were reached. In the beginning
// that is much: then runs are come by while those before them load.
func (l *lookahead) advance(s *Stack) {
	for l.hashed < l.reached+slotAhead && l.scan(s) {
		l.load(s, l.hashed-lag, l.hashed-2*lag)
	}
	l.load(s, l.hashed, l.hashed)
}

// load has the connections loaded of runs before number conns, and the queues of runs before
// number queues, as far as they are due.
func (l *lookahead) load(s *Stack, conns, queues int) {
	for ; l.found < min(l.reached+connAhead, conns); l.found++ {
		r := &l.runs[l.found%lookRuns]
		if r.conn = s.conns.likely(r.hash); r.conn != nil {
			r.conn.Prefetch()
		}
	}
	for ; l.queued < min(l.reached+queueAhead, queues, l.found); l.queued++ {
		r, end := &l.runs[l.queued%lookRuns], l.at
		if l.queued+1 < l.hashed {
			end = l.runs[(l.queued+1)%lookRuns].first
		}
		if r.conn != nil {
			r.conn.PrefetchQueue(end - r.first)
		}
	}
}

// scan goes on to the next run, and reports whether there is one. Of a longer run it looks at
// some frames only: one of another flow between them would cost no more than a guess.
func (l *lookahead) scan(s *Stack) bool {
	const stride = 4
	for i := 0; i < len(l.frames); i++ {
		ends := s.ends(&l.frames[i])
		if ends == nil {
			continue
		}
		g := glanceAt(ends)
		if g == l.last {
			for i+stride < len(l.frames) && glanceAt(s.ends(&l.frames[i+stride])) == g {
				i += stride
			}
			continue
		}
		l.last = g
		r := &l.runs[l.hashed%lookRuns]
		r.first, r.hash, r.conn = l.at+i, hashOf(ends, s.conns.hasher), nil
		prefetch.Lines(s.conns.home(r.hash), 0, 1)
		l.hashed++
		l.at, l.frames = l.at+i+1, l.frames[i+1:]
		return true
	}
	l.at, l.frames = l.at+len(l.frames), nil
	return false
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
			if c := l.runs[(l.reached-1)%lookRuns].conn; c != nil && *c.Tuple() == *key {
				return c
			}
		}
	}
	return s.conns.get(key)
}

// reach says that the i-th frame of the batch is at hand.
func (l *lookahead) reach(s *Stack, i int) {
	if i > l.at { // what lies before was not TCP, and may be others' by now
		l.frames, l.at = l.frames[i-l.at:], i
	}
	for l.reached < l.hashed && l.runs[l.reached%lookRuns].first <= i {
		l.reached++
		l.advance(s)
	}
}

// again finds what was found, in a table that has changed: what was there may be forgotten.
func (l *lookahead) again(s *Stack) {
	l.changes = s.conns.changes
	for i := max(l.reached-1, 0); i < l.found; i++ {
		r := &l.runs[i%lookRuns]
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

// A glance is of a flow's ends what tells neighbours in a batch apart: of IPv6 not all. It is
// zero for what has no ends.
type glance struct {
	addrs uint64
	ports uint32
}

func glanceAt(ends []byte) glance {
	switch len(ends) {
	case ends4Len:
		return glance{binary.LittleEndian.Uint64(ends), binary.LittleEndian.Uint32(ends[8:])}
	case ends6Len:
		return glance{binary.LittleEndian.Uint64(ends[8:]), binary.LittleEndian.Uint32(ends[32:])}
	}
	return glance{}
}

// Where the ends of a flow lie: addresses, and behind them ports, if an IPv4 header has no
// options.
const (
	ends4, ends4Len = 12, 2*4 + 2*2
	ends6, ends6Len = 8, 2*16 + 2*2
)

// ends are the bytes of f that say which flow it is of, if it is an ordinary TCP segment;
// nil if not. Nothing else of it was looked at yet.
func (s *Stack) ends(f *driver.Frame) []byte {
	b := f.Head
	if len(b) == 0 && len(f.Frags) > 0 {
		b = s.pool.Region().View(f.Frags[0])
	}
	if len(b) < s.caps.LinkHeader+ends6+ends6Len {
		return nil // too short for IPv6; of IPv4 an ACK without options
	}
	b = b[s.caps.LinkHeader:]
	switch {
	case b[0] == 4<<4|wire.IPv4HeaderLen/4 && b[9] == wire.ProtoTCP:
		return b[ends4:][:ends4Len]
	case b[0]>>4 == 6 && b[6] == wire.ProtoTCP:
		return b[ends6:][:ends6Len]
	}
	return nil
}

// hashOf is the hash of the flow with ends, as its receiver sees it.
func hashOf(ends []byte, h wire.Hasher) uint64 {
	n := (len(ends) - 2*2) / 2
	ports := ends[2*n:]
	return h.HashEnds(ends[n:2*n], ends[:n], binary.BigEndian.Uint16(ports[2:]), binary.BigEndian.Uint16(ports), wire.ProtoTCP)
}

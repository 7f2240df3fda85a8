package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

const (
	// lookFrames and lookRuns bound how far is looked ahead: frames, and runs of frames
	// of one flow, whose connections' lines fit the first-level cache.
	lookFrames, lookRuns = 256, 32
	// lookFlows is the connections from which on that pays: the lines of fewer are in
	// the second-level cache.
	lookFlows = 512
)

// lookahead finds the connections of a batch's frames before these are taken in, and has
// the cache lines loaded that each will need. One frame after the other, each waits for
// its own: for the table's slot, then for the connection there, then for its queue. Here
// those of many frames come at the same time. What is found is a guess, by the hash alone.
type lookahead struct {
	end     int // index in the batch of the first frame that was not looked at
	runs    [lookRuns]lookRun
	n, next int    // runs there are, and the one that comes behind the frame at hand's
	changes uint64 // the table's, when it was asked
	loaded  uint64 // so that loads are not optimized away
}

// A lookRun is frames of one flow, one behind the other.
type lookRun struct {
	first int // index of the first in the batch
	hash  uint64
	conn  *tcp.Conn // nil if there is none
}

// look prepares as many of frames as it can. The first is number first of its batch.
func (l *lookahead) look(s *Stack, first int, frames []driver.Frame) {
	l.n, l.next, l.changes = 0, 0, s.conns.changes
	var last []byte
	i := 0
	for ; i < min(len(frames), lookFrames); i++ {
		ends := s.ends(&frames[i])
		if ends == nil || bytes.Equal(ends, last) {
			continue
		}
		if l.n == lookRuns {
			break
		}
		last = ends
		key := tupleOf(ends)
		r := &l.runs[l.n]
		r.first, r.hash = first+i, s.conns.hasher.Hash(&key)
		l.n++
	}
	l.end = first + i
	runs := l.runs[:l.n]
	var x uint64
	for i := range runs {
		x += s.conns.home(runs[i].hash).hash
	}
	for i := range runs {
		r := &runs[i]
		if r.conn = s.conns.likely(r.hash); r.conn != nil {
			x += r.conn.Load()
		}
	}
	for i := range runs {
		if c := runs[i].conn; c != nil {
			x += c.LoadQueue()
		}
	}
	l.loaded += x
}

// conn is the connection of t with key, which the i-th frame of the batch has; nil if there
// is none.
func (l *lookahead) conn(i int, key *wire.Tuple, t *table[tcp.Conn]) *tcp.Conn {
	if i < l.end && l.changes == t.changes {
		for l.next < l.n && l.runs[l.next].first <= i {
			l.next++
		}
		if l.next > 0 {
			if c := l.runs[l.next-1].conn; c != nil && *c.Tuple() == *key {
				return c
			}
		}
	}
	return t.get(key)
}

// done forgets what was found: the connections may be gone before the next batch.
func (l *lookahead) done() {
	if l.end > 0 {
		clear(l.runs[:l.n])
		l.n, l.end = 0, 0
	}
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

// tupleOf is the key of the flow with ends, as they came.
func tupleOf(ends []byte) wire.Tuple {
	var src, dst netip.Addr
	if len(ends) == ends4Len {
		src, dst = netip.AddrFrom4([4]byte(ends)), netip.AddrFrom4([4]byte(ends[4:]))
	} else {
		src, dst = netip.AddrFrom16([16]byte(ends)), netip.AddrFrom16([16]byte(ends[16:]))
	}
	ports := ends[len(ends)-4:]
	return wire.Tuple{
		Local:  netip.AddrPortFrom(dst, binary.BigEndian.Uint16(ports[2:])),
		Remote: netip.AddrPortFrom(src, binary.BigEndian.Uint16(ports)),
		Proto:  wire.ProtoTCP,
	}
}

package stack

import (
	"encoding/binary"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// maxLook is how many frames merge looks at together, at most.
const maxLook = 64

// firstLook is how many it looks at first, where it can't tell.
const firstLook = 4

// merge puts the frames behind f in its batch together with s.segment, which f has
// brought for conn, as far as they continue it and conn may take them in at once
// (receive coalescing; GRO, were it done by the driver). What they cost is then a
// comparison of headers, and where payload lies.
//
// Frames of a flow that are not next to each other in a batch are not looked for: senders
// and NICs send bursts, and where they come mixed flowSort has sorted them.
func (s *Stack) merge(f *driver.Frame, conn *tcp.Conn) {
	h, g := &s.rx, &s.segment
	each, headers := h.tcp.PayloadLen, h.link+h.tcp.PayloadOffset
	// Without padding, so that frames of one length carry packets of one length.
	if s.rest[0].Len != f.Len || each == 0 || f.Len != headers+each || h.link != s.caps.LinkHeader {
		return
	}
	seqAt := h.link + h.ip.L4Offset + wire.SeqOffset
	if !s.precedes(0, seqAt, h.tcp.Seq.Add(uint32(each))) {
		return // most often another flow's: no more is looked at
	}
	var next wire.Continuation
	if !next.Begin(h.first, h.link, &h.ip, &h.tcp) {
		return
	}
	room := conn.Mergeable(&h.tcp)
	length, taken, flags := g.Len, 0, h.tcp.Flags
	if length+each > room {
		return
	}
	merged := append(s.merged[:0], g.Frags...)
	// Each step is a short loop over many frames, which is faster than one loop of all
	// steps. As many are looked at as followed another frame last, if the last of these seems to
	// follow, too; else, the more have followed, the more are looked at next: if the first
	// of them does not follow, it was in vain that the others were.
	look := min(s.followed, len(s.rest), maxLook)
	if look < firstLook || !s.precedes(look-1, seqAt, h.tcp.Seq.Add(uint32(look*each))) {
		look = firstLook
	}
	for ; ; look = min(4*look, maxLook) {
		frames := s.rest[taken:min(taken+look, len(s.rest))]
		if length+len(frames)*each > room {
			frames = frames[:(room-length)/each]
		}
		heads := s.headsOf(frames, f.Len, headers)
		seq := h.tcp.Seq.Add(uint32(length))
		n, more := next.Count(heads, seq, each)
		if n == 0 {
			break
		}
		if right := s.verified(frames[:n], heads); right < n {
			n, more = next.Count(heads[:right], seq, each)
		}
		merged = collect(merged, frames[:n], headers)
		length += n * each
		taken += n
		flags |= more
		if n < look || taken == len(s.rest) || !s.precedes(taken, seqAt, seq.Add(uint32(n*each))) {
			break
		}
	}
	if taken == 0 {
		return
	}
	s.followed = taken
	s.merged, s.rest = merged, s.rest[taken:]
	g.Frags, g.Len, g.Count = merged, length, g.Count+taken
	h.tcp.Flags = flags
	s.stats.Merged += uint64(taken)
}

// precedes reports whether the i-th of the frames that are left has the sequence number seq, if
// that lies seqAt bytes behind the frame's start.
func (s *Stack) precedes(i, seqAt int, seq wire.Seq) bool {
	b := s.first(&s.rest[i])
	return len(b) >= seqAt+4 && wire.Seq(binary.BigEndian.Uint32(b[seqAt:])) == seq
}

// headsOf is the piece of each frame that begins with its headers, of so many bytes: Head, if
// the frame was split right behind them, or all that the first frag names. It ends before a frame
// that has another length, or its headers in two pieces. The next call reuses the slice.
func (s *Stack) headsOf(frames []driver.Frame, length, headers int) [][]byte {
	region, heads := s.pool.Region(), s.heads[:len(frames)]
	for i := range frames {
		f := &frames[i]
		b := f.Head
		if f.Len != length {
			return heads[:i]
		}
		if len(b) != headers {
			if len(b) > 0 || len(f.Frags) == 0 || f.Frags[0].Len() <= headers {
				return heads[:i]
			}
			b = region.View(f.Frags[0])
		}
		heads[i] = b
	}
	return heads
}

// verified is how many of frames, which begin with heads, have the right checksum, up to one
// that has not: that is counted as dropped when it is looked at by itself.
func (s *Stack) verified(frames []driver.Frame, heads [][]byte) int {
	for i := range frames {
		f := &frames[i]
		if f.Checksum == driver.Vouched {
			continue
		}
		if b := heads[i]; s.rx.ip.VerifyL4(b[s.rx.link:], s.bytes(f, len(b))...) != wire.OK {
			return i
		}
	}
	return len(frames)
}

// collect appends the payload of frames, which is what is behind their headers, to merged.
func collect(merged []buf.Frag, frames []driver.Frame, headers int) []buf.Frag {
	for i := range frames {
		f, at := &frames[i], len(merged)
		skip := headers - len(f.Head) // of the first frag
		if len(f.Frags) == 1 && at < cap(merged) {
			merged = merged[:at+1]
			merged[at].SetTail(&f.Frags[0], skip)
			continue
		}
		for k := 0; k < len(f.Frags); k++ { // one by one: a copy of all would wait for the stores that made them
			merged = append(merged, f.Frags[k])
		}
		if skip > 0 {
			merged[at].TrimFront(skip)
		}
	}
	return merged
}

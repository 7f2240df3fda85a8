package stack

import (
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

// maxLook is how many frames merge looks at together, at most.
const maxLook = 64

// merge puts the frames behind f in its batch together with s.segment, which f has
// brought for conn, as far as they continue it and conn may take them in at once
// (receive coalescing; GRO, were it done by the driver). What they cost is then a
// comparison of headers, and where payload lies.
//
// Frames of a flow that are not next to each other in a batch are not looked for:
// senders and NICs send bursts.
func (s *Stack) merge(f *driver.Frame, conn *tcp.Conn) {
	h, g := &s.rx, &s.segment
	each, headers := h.tcp.PayloadLen, h.link+h.tcp.PayloadOffset
	// Without padding, so that frames of one length carry packets of one length.
	if s.rest[0].Len != f.Len || each == 0 || f.Len != headers+each || h.link != s.caps.LinkHeader {
		return
	}
	if first := s.first(&s.rest[0]); len(first) < headers || !h.tcp.Precedes(first[h.link+h.ip.L4Offset:]) {
		return // most often another flow's: no more is looked at
	}
	var next wire.Continuation
	if !next.Begin(h.first, h.link, &h.ip, &h.tcp) {
		return
	}
	room := -1 // unknown
	length, taken, flags := g.Len, 0, h.tcp.Flags
	merged := s.merged[:0]
	// Each step is a short loop over many frames, which is faster than one loop of all
	// steps. The more have followed, the more are looked at next: if the first of them does
	// not follow, it was in vain that the others were.
	for look := 1; ; look = min(4*look, maxLook) {
		frames := s.rest[taken:min(taken+look, len(s.rest))]
		if room >= 0 {
			frames = frames[:min(len(frames), (room-length)/each)]
		}
		heads := s.headsOf(frames, f.Len, headers)
		seq := h.tcp.Seq.Add(uint32(length))
		n, more := next.Count(heads, seq, each)
		if n == 0 {
			break
		}
		if room < 0 {
			if room = conn.Mergeable(&h.tcp); length+each > room {
				break
			}
			merged = append(merged, g.Frags...)
		}
		if right := s.verified(frames[:n], heads); right < n {
			n, more = next.Count(heads[:right], seq, each)
		}
		merged = collect(merged, frames[:n], headers)
		length += n * each
		taken += n
		flags |= more
		if n < look {
			break
		}
	}
	if taken == 0 {
		return
	}
	s.merged, s.rest = merged, s.rest[taken:]
	g.Frags, g.Len, g.Count = merged, length, g.Count+taken
	h.tcp.Flags = flags
	s.stats.Merged += uint64(taken)
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

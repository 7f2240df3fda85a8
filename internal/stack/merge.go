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
	if s.followed == 0 && !s.precedes(h.link+h.ip.L4Offset+wire.SeqOffset, h.tcp.Seq.Add(uint32(each))) {
		return // most often another flow's: no more is looked at
	}
	var next wire.Continuation
	if !next.Begin(h.first, h.link, &h.ip, &h.tcp) {
		return
	}
	room := max(conn.Mergeable(&h.tcp)-each, 0) // for the frames behind f
	inLine := s.inLine(f)
	taken, flags := 0, h.tcp.Flags
	// Each step is a short loop over many frames, which is faster than one loop of all steps. As many
	// are looked at as followed another frame last, and one more, which most often does
	// not: what is behind that would be looked at in vain.
	for look := min(s.followed+1, maxLook); ; look = min(4*look, maxLook) {
		frames := s.rest[taken:min(taken+look, len(s.rest))]
		if room < len(frames)*each {
			frames = frames[:room/each]
		}
		seq := h.tcp.Seq.Add(uint32((taken + 1) * each))
		n, more := 0, wire.Flags(0)
		if inLine {
			n = s.place(frames, s.frags[s.at+1+taken:], f)
			n, more = next.CountAt(s.pool.Region().Memory(), s.places[:n], seq, each)
		} else {
			n, more = next.Count(s.headsOf(frames, f, headers), seq, each)
		}
		if f.Checksum != driver.Vouched {
			if right := s.verified(frames[:n]); right < n {
				n, more = next.Count(s.headsOf(frames[:right], f, headers), seq, each)
			}
		}
		taken, flags, room = taken+n, flags|more, room-n*each
		if n < look {
			break
		}
	}
	s.followed = taken
	if taken == 0 {
		return
	}
	if inLine {
		g.Frags = s.frags[s.at:][:1+taken]
		buf.TrimFronts(g.Frags[1:], headers)
	} else {
		s.merged = collect(append(s.merged[:0], g.Frags...), s.rest[:taken], headers)
		g.Frags = s.merged
	}
	s.rest = s.rest[taken:]
	g.Len, g.Count = g.Len+taken*each, g.Count+taken
	h.tcp.Flags = flags
	s.stats.Merged += uint64(taken)
}

// precedes reports whether the first of the frames that are left has the sequence number seq, if
// that lies seqAt bytes behind the frame's start.
func (s *Stack) precedes(seqAt int, seq wire.Seq) bool {
	b := s.first(&s.rest[0])
	return len(b) >= seqAt+4 && wire.Seq(binary.BigEndian.Uint32(b[seqAt:])) == seq
}

// inLine reports whether f, the frame at hand, is one frag, and the frags of the batch lie one
// behind the other, one of each frame: as a driver leaves them that does not split headers
// off. Then those of a run are the payload of all, once what is before it is cut off.
func (s *Stack) inLine(f *driver.Frame) bool {
	return len(f.Head) == 0 && s.at < len(s.frags) && len(f.Frags) == 1 && &f.Frags[0] == &s.frags[s.at]
}

// place puts into s.places where in the region each frame begins that is one frag, that of frags
// in line, and is how many that are: it ends before one that is not, has another length than f,
// or has its checksum verified or not where f has it otherwise.
func (s *Stack) place(frames []driver.Frame, frags []buf.Frag, f *driver.Frame) int {
	region, places := s.pool.Region(), s.places[:len(frames)]
	length, sum := f.Len, f.Checksum
	frags = frags[:len(frames)]
	for i := range frames {
		f, g := &frames[i], &frags[i]
		if f.Len != length || g.Len() != length || len(f.Frags) != 1 || &f.Frags[0] != g || f.Checksum != sum {
			return i
		}
		places[i] = region.Place(g)
	}
	return len(frames)
}

// headsOf is the piece of each frame that begins with its headers, of so many bytes: Head, if
// the frame was split right behind them, or all that the first frag names. It ends before a frame
// that has its headers in two pieces, or as place does. The next call reuses the slice.
func (s *Stack) headsOf(frames []driver.Frame, f *driver.Frame, headers int) [][]byte {
	region, heads := s.pool.Region(), s.heads[:len(frames)]
	length, sum := f.Len, f.Checksum
	for i := range frames {
		f := &frames[i]
		b := f.Head
		if f.Len != length || f.Checksum != sum {
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

// verified is how many of frames, which continue the one at hand, have the right checksum, up to
// one that has not: that is counted as dropped when it is looked at by itself.
func (s *Stack) verified(frames []driver.Frame) int {
	for i := range frames {
		f := &frames[i]
		if b := s.first(f); s.rx.ip.VerifyL4(b[s.rx.link:], s.bytes(f, len(b))...) != wire.OK {
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

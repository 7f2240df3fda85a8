package stack

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/wire"
)

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
	next, ok := wire.ContinuationOf(h.head, &h.ip, &h.tcp)
	if !ok {
		return
	}
	room := -1 // unknown
	length, taken, flags := g.Len, 0, h.tcp.Flags
	merged := s.merged[:0]
	for taken < len(s.rest) && s.rest[taken].Len == f.Len {
		f := &s.rest[taken]
		b := f.Head
		inHead := len(b) == headers // split just there, as most drivers do
		if !inHead {
			if len(b) > 0 || len(f.Frags) == 0 || f.Frags[0].Len() <= headers {
				break
			}
			b = s.pool.Region().View(f.Frags[0])
		}
		more, ok := next.Next(b[h.link:], h.tcp.Seq.Add(uint32(length)))
		if !ok || h.link > 0 && string(b[:h.link]) != string(h.first[:h.link]) {
			break
		}
		if room < 0 {
			room = conn.Mergeable(&h.tcp)
		}
		if length+each > room {
			break
		}
		if f.Checksum != driver.Vouched && h.ip.VerifyL4(b[h.link:], s.bytes(f, len(b))...) != wire.OK {
			break // it is counted when it is looked at by itself
		}
		if taken == 0 {
			merged = append(merged, g.Frags...)
		}
		at := len(merged)
		for i := 0; i < len(f.Frags); i++ { // one by one: a copy of all would wait for the stores that made them
			merged = append(merged, f.Frags[i])
		}
		if !inHead {
			merged[at].TrimFront(headers)
		}
		length += each
		taken++
		flags |= more
	}
	if taken == 0 {
		return
	}
	s.merged, s.rest = merged, s.rest[taken:]
	g.Frags, g.Len, g.Count = merged, length, g.Count+taken
	h.tcp.Flags = flags
	s.stats.Merged += uint64(taken)
}

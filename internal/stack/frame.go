package stack

import (
	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// maxLinkHeader is an Ethernet header with all its VLAN tags, bytes.
const maxLinkHeader = wire.EthernetHeaderLen + wire.MaxVLANTags*wire.VLANTagLen

// headers is what the headers of one frame mean. One is enough for a stack,
// which looks at one frame at a time.
type headers struct {
	first []byte      // the first bytes of the frame
	link  int         // length of the link header, bytes
	head  []byte      // first from the IP header on
	ip    wire.Packet // and one of:
	tcp   wire.TCP
	udp   wire.UDP
	icmp  wire.ICMP
	// whole is the IP header of a packet that was put together from fragments.
	whole [wire.IPv6HeaderLen]byte

	// gathered is where headers are put together that do not lie in one piece.
	gathered [maxLinkHeader + wire.MaxHeaderLen]byte
}

// parse reads the headers of f.
func (h *headers) parse(f *driver.Frame, pool *buf.Pool, linkHeader int) cause {
	first := f.Head
	if len(first) == 0 && len(f.Frags) > 0 {
		first = pool.Region().View(f.Frags[0])
	}
	c := h.parseFrom(first, f.Len, linkHeader)
	if c != needMore {
		return c
	}
	return h.parseFrom(h.gather(f, pool), f.Len, linkHeader)
}

// gather copies the beginning of f into one piece, as much as any headers take.
func (h *headers) gather(f *driver.Frame, pool *buf.Pool) []byte {
	n := copy(h.gathered[:], f.Head)
	for _, g := range f.Frags {
		if n == len(h.gathered) {
			break
		}
		n += copy(h.gathered[n:], pool.Region().View(g))
	}
	return h.gathered[:n]
}

func (h *headers) parseFrom(b []byte, frameLen, linkHeader int) cause {
	h.first, h.link = b, 0
	head := b
	if linkHeader > 0 {
		var e wire.Ethernet
		if c := wire.ParseEthernet(b, frameLen, &e); c != wire.OK {
			return cause(c)
		}
		if e.Tags > 0 {
			return tagged
		}
		if e.EtherType != wire.EtherTypeIPv4 && e.EtherType != wire.EtherTypeIPv6 {
			return notIP
		}
		h.link = e.HeaderLen
		head = b[h.link:]
	}
	h.head = head
	if c := wire.ParseIP(head, frameLen-h.link, wire.Verify, &h.ip); c != wire.OK {
		return cause(c)
	}
	if h.ip.IsFragment() {
		return fragment
	}
	switch h.ip.Proto {
	case wire.ProtoTCP:
		return cause(wire.ParseTCP(head, &h.ip, &h.tcp))
	case wire.ProtoUDP:
		return cause(wire.ParseUDP(head, &h.ip, &h.udp))
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return cause(wire.ParseICMP(head, &h.ip, &h.icmp))
	}
	return unknownProtocol
}

// verify verifies the transport checksum of f, unless the driver vouches for it.
func (s *Stack) verify(f *driver.Frame, h *headers) cause {
	if f.Checksum == driver.Vouched {
		return accepted
	}
	return s.verifySum(f, h) // of its own, so that the above is inlined
}

func (s *Stack) verifySum(f *driver.Frame, h *headers) cause {
	return cause(h.ip.VerifyL4(h.head, s.bytes(f, h.link+len(h.head))...))
}

// bytes is the bytes of f from off on, in a slice that the next call reuses.
func (s *Stack) bytes(f *driver.Frame, off int) [][]byte {
	s.views = s.views[:0]
	if off < len(f.Head) {
		s.views = append(s.views, f.Head[off:])
	}
	off -= len(f.Head)
	for _, g := range f.Frags {
		if off < g.Len() {
			s.views = append(s.views, s.pool.Region().View(g.Slice(max(off, 0), g.Len())))
		}
		off -= g.Len()
	}
	return s.views
}

// cut leaves in f.Frags just the bytes [from, to) of the frame, its payload:
// where they are, without moving any. Only what lies in f.Head, where the driver
// took payload for headers, has to be copied into a buffer, and is marked so.
// References to buffers without payload are dropped. It reports false, and leaves
// f.Frags as it is, if there is no buffer to copy into.
func (s *Stack) cut(f *driver.Frame, from, to int) bool {
	if from == len(f.Head) && to == f.Len {
		return true // split just there, as most drivers do
	}
	if len(f.Frags) == 1 && f.Len == f.Frags[0].Len() && to == f.Len && from < to {
		f.Frags[0].TrimFront(from) // in one piece, as the others do
		return true
	}
	kept := f.Frags[:0]
	if end := min(to, len(f.Head)); from < end {
		var ok bool
		if kept, ok = s.copyIn(f.Head[from:end]); !ok {
			return false
		}
	}
	pos := len(f.Head)
	for _, g := range f.Frags {
		lo, hi := max(from-pos, 0), min(to-pos, g.Len())
		pos += g.Len()
		if lo >= hi {
			s.pool.Put(g.Buffer())
			continue
		}
		kept = append(kept, g.Slice(lo, hi))
	}
	f.Frags = kept
	return true
}

// copyIn copies b into new buffers. The frags lie in a slice that the next call
// reuses.
func (s *Stack) copyIn(b []byte) ([]buf.Frag, bool) {
	s.copies = s.copies[:0]
	for len(b) > 0 {
		var id [1]uint16
		if s.pool.Alloc(id[:]) == 0 {
			s.pool.PutFrags(s.copies)
			return nil, false
		}
		n := copy(s.pool.Region().Buffer(id[0]), b)
		b = b[n:]
		s.copies = append(s.copies, s.pool.Frag(id[0], 0, n).AsCopied())
	}
	return s.copies, true
}

package wire

// Limits on the extension headers of an IPv6 packet. A host may have such limits
// (RFC 8504 section 5.3, RFC 8883 section 2). The first is one more than the headers
// in the order that RFC 8200 section 4.1 recommends; the second has room for a
// segment routing header of 10 segments, and keeps MaxHeaderLen at 512.
const (
	MaxExtensionHeaders = 8
	MaxExtensionBytes   = 208
)

// Next header values of the extension headers that are walked (RFC 8200 section 4).
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestOptions = 60
)

// Types of the options in a hop-by-hop or destination options header. The two high
// bits of a type tell a receiver that does not know it what to do.
const (
	optPad1        = 0x00
	optJumbo       = 0xc2 // RFC 2675
	optActionMask  = 0xc0
	optActionSkip  = 0x00
	fragHeaderLen  = 8
	extLenUnit     = 8
	fragOffsetMask = 0xfff8
)

// UpperLayer returns the protocol above IP of a fragment that is the first of its packet, and
// where in head, which begins as for ParseIP, its header starts: behind the extension headers
// that were fragmented, too (RFC 8200 section 4.5), destination options for one. Truncated means
// that they are not all in this fragment (RFC 7112).
func (p *Packet) UpperLayer(head []byte) (proto uint8, offset int, c Cause) {
	if p.Version == 4 {
		return p.Proto, p.L4Offset, OK
	}
	var q Packet
	c = walkExtensions(head, p.L4Offset, p.Len(), p.Proto, &q)
	return q.Proto, q.L4Offset, c
}

// walkExtensions follows the chain of extension headers that starts at off, behind the
// fixed header or a fragment header. The first of them is of type next. It sets Proto,
// L4Offset, L4Len and the fragment fields of p. end is the length of the packet as it
// declares it.
//
// At a fragment header the walk stops, unless the packet is whole: what follows
// belongs to the packet that reassembly makes (RFC 8200 section 4.5).
func walkExtensions(head []byte, off, end int, next uint8, p *Packet) Cause {
	var routed bool
	fragmented := off > IPv6HeaderLen
	for n := 0; ; n++ {
		switch next {
		case extHopByHop, extRouting, extFragment, extDestOptions:
		default:
			p.Proto = next
			p.L4Offset = off
			p.L4Len = end - off
			return OK
		}
		if n == MaxExtensionHeaders {
			return BadExtension
		}
		size, c := extensionLen(head, end, off, next)
		if c != OK {
			return c
		}
		ext := head[off : off+size]
		off += size
		switch next {
		case extHopByHop:
			if n != 0 || fragmented {
				return BadExtension
			}
			c = checkIPv6Options(ext[2:])
		case extDestOptions:
			c = checkIPv6Options(ext[2:])
		case extRouting:
			if routed {
				return BadExtension
			}
			routed = true
			if ext[3] != 0 { // segments left
				return SourceRouted
			}
		case extFragment:
			if fragmented {
				return BadExtension
			}
			fragmented = true
			field := be16(ext[2:])
			p.FragOffset = field & fragOffsetMask
			p.MoreFragments = field&1 != 0
			p.ID = be32(ext[4:])
			if p.IsFragment() {
				p.Proto = ext[0]
				p.L4Offset = off
				p.L4Len = end - off
				return checkFragment(p)
			}
		}
		if c != OK {
			return c
		}
		next = ext[0]
	}
}

// extensionLen returns the length in bytes of the extension header of type next at
// offset off, having checked that all of it can be read.
func extensionLen(head []byte, end, off int, next uint8) (int, Cause) {
	if c := have(head, end, off+extLenUnit); c != OK {
		return 0, c
	}
	size := fragHeaderLen // its second byte is reserved
	if next != extFragment {
		size = (int(head[off+1]) + 1) * extLenUnit
	}
	if off+size > IPv6HeaderLen+MaxExtensionBytes {
		return 0, BadExtension
	}
	return size, have(head, end, off+size)
}

// checkIPv6Options walks over the options of a hop-by-hop or destination options
// header (RFC 8200 section 4.2). None is known here, for none means something to
// the endpoint of a TCP or UDP flow; so each one is skipped if it says that it may
// be, and else condemns the packet.
func checkIPv6Options(opts []byte) Cause {
	for len(opts) > 0 {
		if opts[0] == optPad1 {
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || int(opts[1])+2 > len(opts) {
			return BadOption
		}
		if opts[0] == optJumbo {
			return Jumbogram
		}
		if opts[0]&optActionMask != optActionSkip {
			return RefusedOption
		}
		opts = opts[int(opts[1])+2:]
	}
	return OK
}

//go:build linux

package steer

import (
	"encoding/binary"
	"net/netip"
)

// rules are what a reference matcher goes by: the same sets as the maps hold, kept
// as addresses and not as keys.
type rules struct {
	listeners map[refListener]bool
	// broadcasts are the listeners at addresses of all hosts.
	broadcasts map[refListener]bool
	flows      map[refFlow]bool
	socket     bool // there is one
}

type refListener struct {
	proto uint8
	local netip.AddrPort
}

type refFlow struct {
	proto         uint8
	local, remote netip.AddrPort
}

// verdict says what doc.go says about a frame, in the words of a parser that
// consumes slices.
func (r *rules) verdict(frame []byte) Verdict {
	if len(frame) < 14 {
		return PassMalformed
	}
	if frame[0]%2 == 1 {
		return r.group(frame)
	}
	kind, packet := binary.BigEndian.Uint16(frame[12:14]), frame[14:]
	if kind == 0x8100 {
		if len(packet) < 4 {
			return PassMalformed
		}
		if binary.BigEndian.Uint16(packet)%4096 != 0 {
			return PassVLAN
		}
		kind, packet = binary.BigEndian.Uint16(packet[2:4]), packet[4:]
	}
	switch kind {
	case 0x0800:
		return r.ipv4(packet, false)
	case 0x86dd:
		return r.ipv6(packet, false)
	case 0x8100, 0x88a8:
		return PassVLAN
	}
	return PassNotIP
}

// group says what doc.go says about frames to a group of stations.
func (r *rules) group(frame []byte) Verdict {
	kind, packet := binary.BigEndian.Uint16(frame[12:14]), frame[14:]
	var dst netip.Addr
	var datagram []byte
	switch {
	case kind == 0x0800 && len(packet) >= 20 && packet[0] == 0x45 && packet[9] == 17 && binary.BigEndian.Uint16(packet[6:8])<<2 == 0:
		dst, datagram = netip.AddrFrom4([4]byte(packet[16:20])), packet[20:]
	case kind == 0x86dd && len(packet) >= 40 && packet[0]/16 == 6 && packet[6] == 17:
		dst, datagram = netip.AddrFrom16([16]byte(packet[24:40])), packet[40:]
	}
	if len(datagram) < 4 {
		return PassGroup
	}
	to := refListener{17, netip.AddrPortFrom(dst, binary.BigEndian.Uint16(datagram[2:4]))}
	group := dst.IsMulticast() && !dst.Is4In6() && r.listeners[to]
	if all := dst.Is4() && !dst.IsMulticast() && r.broadcasts[to]; !group && !all {
		return PassGroup
	}
	if !r.socket {
		return PassNoSocket
	}
	return RedirectListener
}

func (r *rules) ipv4(packet []byte, isQuote bool) Verdict {
	if len(packet) < 20 || packet[0]/16 != 4 || packet[0]%16 < 5 {
		return PassMalformed
	}
	moreFragments, fragmentOffset := packet[6]&0x20 != 0, binary.BigEndian.Uint16(packet[6:8])<<3
	if moreFragments || fragmentOffset != 0 {
		return PassFragment
	}
	src, _ := netip.AddrFromSlice(packet[12:16])
	dst, _ := netip.AddrFromSlice(packet[16:20])
	payload := skip(packet, int(packet[0]%16)*4)
	switch proto := packet[9]; proto {
	case 6, 17:
		return r.transport(proto, src, dst, payload, isQuote)
	case 1:
		if isQuote {
			return PassProtocol
		}
		if len(payload) < 8 {
			return PassMalformed
		}
		if payload[0] == 3 || payload[0] == 11 {
			return r.ipv4(payload[8:], true)
		}
	}
	return PassProtocol
}

func (r *rules) ipv6(packet []byte, isQuote bool) Verdict {
	if len(packet) < 40 || packet[0]/16 != 6 {
		return PassMalformed
	}
	src, _ := netip.AddrFromSlice(packet[8:24])
	dst, _ := netip.AddrFromSlice(packet[24:40])
	next, payload := packet[6], packet[40:]
	for walked := 0; ; walked++ {
		switch next {
		case 6, 17:
			return r.transport(next, src, dst, payload, isQuote)
		case 58:
			if isQuote {
				return PassProtocol
			}
			if len(payload) < 8 {
				return PassMalformed
			}
			if payload[0] >= 1 && payload[0] <= 3 {
				return r.ipv6(payload[8:], true)
			}
			return PassProtocol
		case 44:
			return PassFragment
		case 0, 43, 60:
			if walked == 8 {
				return PassExtension
			}
			if len(payload) < 8 {
				return PassMalformed
			}
			if next == 43 && payload[3] > 0 {
				return PassExtension
			}
			next, payload = payload[0], skip(payload, 8+8*int(payload[1]))
		default:
			return PassProtocol
		}
	}
}

func (r *rules) transport(proto uint8, src, dst netip.Addr, payload []byte, isQuote bool) Verdict {
	if len(payload) < 4 {
		return PassMalformed
	}
	from := netip.AddrPortFrom(src, binary.BigEndian.Uint16(payload))
	to := netip.AddrPortFrom(dst, binary.BigEndian.Uint16(payload[2:]))
	remote, local := from, to
	if isQuote {
		remote, local = to, from
	}
	v := PassUnmatched
	switch {
	case r.listeners[refListener{proto, local}]:
		v = RedirectListener
	case r.flows[refFlow{proto, local, remote}]:
		v = RedirectFlow
	default:
		return v
	}
	if isQuote {
		v = RedirectError
	}
	if !r.socket {
		v = PassNoSocket
	}
	return v
}

// skip is b without its first n bytes, empty if it has not more.
func skip(b []byte, n int) []byte { return b[min(n, len(b)):] }

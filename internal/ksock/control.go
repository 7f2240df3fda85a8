//go:build linux

package ksock

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// An Info is what the kernel tells of a datagram beside its source.
type Info struct {
	// Dst is the address that it was sent to; invalid if the kernel did not say.
	// IPv4-mapped addresses are unmapped.
	Dst netip.Addr
	// UnixNano is when the kernel received it, in nanoseconds since 1970; 0 if
	// it did not say.
	UnixNano int64
	// Segment, if not 0, tells that it is several datagrams that the kernel has
	// put together (UDP_GRO): each of so many bytes, the last perhaps shorter.
	Segment int
	// TrafficClass is the TOS octet of IPv4, the traffic class of IPv6.
	TrafficClass uint8
}

// cmsgAlign is the alignment of control messages: the machine's word.
const cmsgAlign = unix.SizeofCmsghdr - 8

// Lengths in bytes of the contents of control messages.
const (
	intLen      = 4
	timespecLen = 2 * cmsgAlign // struct __kernel_old_timespec: two words
)

// controlLen is room for all that Packet asks for: an in6_pktinfo, the larger one,
// the traffic class, a time stamp and the segment size; each in whole words.
const controlLen = (unix.SizeofCmsghdr+unix.SizeofInet6Pktinfo+cmsgAlign-1)&^(cmsgAlign-1) +
	(unix.SizeofCmsghdr+intLen+cmsgAlign-1)&^(cmsgAlign-1) +
	(unix.SizeofCmsghdr+timespecLen+cmsgAlign-1)&^(cmsgAlign-1) +
	(unix.SizeofCmsghdr+intLen+cmsgAlign-1)&^(cmsgAlign-1)

// control is where the kernel writes control messages: aligned as they must be.
type control [controlLen / cmsgAlign]uintptr

// A flag is a socket option that is on or off.
type flag struct {
	name          string
	level, option int
}

// Of IPv4 an IPv6 socket tells the destination as it does of IPv6, but the traffic
// class by IPv4's message.
var (
	infoFlags = []flag{
		{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS},
		{"IP_RECVTOS", unix.IPPROTO_IP, unix.IP_RECVTOS},
	}
	infoFlags4 = []flag{{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO}}
	infoFlags6 = []flag{
		{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO},
		{"IPV6_RECVTCLASS", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS},
	}
)

// wantInfo asks the kernel to tell what Info has. merge also lets it put datagrams
// together; a kernel that can't (before Linux 5.0) hands over each for itself.
func (s *Socket) wantInfo(merge bool) error {
	own := infoFlags4
	if s.family == unix.AF_INET6 {
		own = infoFlags6
	}
	for _, flags := range [][]flag{infoFlags, own} {
		for _, f := range flags {
			if err := s.setInt(f.name, f.level, f.option, 1); err != nil {
				return err
			}
		}
	}
	if merge {
		_ = s.setInt("UDP_GRO", unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}
	return nil
}

// parseInfo reads control messages; those that it does not know, or that are not
// as they should be, it passes over.
func parseInfo(c []byte) (in Info) {
	for len(c) >= unix.SizeofCmsghdr {
		size, level, kind := cmsgHeader(c)
		if size < unix.SizeofCmsghdr || size > uint64(len(c)) {
			break
		}
		in.add(level, kind, c[unix.SizeofCmsghdr:size])
		c = c[min((size+cmsgAlign-1)&^(cmsgAlign-1), uint64(len(c))):]
	}
	return in
}

// add takes in one control message.
func (in *Info) add(level, kind int32, data []byte) {
	order := binary.NativeEndian
	switch {
	case level == unix.SOL_SOCKET && kind == unix.SCM_TIMESTAMPNS && len(data) >= timespecLen:
		in.UnixNano = word(data)*1e9 + word(data[cmsgAlign:])
	case level == unix.IPPROTO_IP && kind == unix.IP_TOS && len(data) >= 1:
		in.TrafficClass = data[0]
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_TCLASS && len(data) >= intLen:
		in.TrafficClass = uint8(order.Uint32(data))
	case level == unix.IPPROTO_UDP && kind == unix.UDP_GRO && len(data) >= intLen:
		in.Segment = int(min(order.Uint32(data), maxUDP))
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		// struct in_pktinfo {ifindex, spec_dst, addr}
		in.Dst = netip.AddrFrom4([4]byte(data[8:12]))
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		// struct in6_pktinfo {addr, ifindex}; the index is a link-local one's zone.
		ip := netip.AddrFrom16([16]byte(data[:16])).Unmap()
		if ip.IsLinkLocalUnicast() && ip.Is6() {
			ip = ip.WithZone(zoneName(order.Uint32(data[16:20])))
		}
		in.Dst = ip
	}
}

// maxUDP is the reach of UDP's length field, bytes.
const maxUDP = 65535

// cmsgHeader reads a struct cmsghdr: a length of the machine's word size, its
// own size included, a level and a type.
func cmsgHeader(c []byte) (size uint64, level, kind int32) {
	return uint64(word(c)), int32(binary.NativeEndian.Uint32(c[cmsgAlign:])), int32(binary.NativeEndian.Uint32(c[cmsgAlign+4:]))
}

// word reads a signed word of the machine's size.
func word(b []byte) int64 {
	const size = cmsgAlign
	if size == 8 {
		return int64(binary.NativeEndian.Uint64(b))
	}
	return int64(int32(binary.NativeEndian.Uint32(b)))
}

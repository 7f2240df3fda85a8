//go:build linux

package hostnet

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// addrOf is the address in an attribute, not valid if it has no address's size.
func addrOf(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// validFamily reports whether an address is of a family, AF_INET or AF_INET6.
func validFamily(a netip.Addr, family uint8) bool {
	return a.Is4() && family == unix.AF_INET || a.Is6() && family == unix.AF_INET6
}

// linkIndex is the interface that a message about a link is about (struct
// ifinfomsg). A bridge reports its ports in messages of another family: those
// are not ok.
func linkIndex(p []byte) (index int, ok bool) {
	if len(p) < unix.SizeofIfInfomsg || p[0] != unix.AF_UNSPEC {
		return 0, false
	}
	return int(int32(binary.NativeEndian.Uint32(p[4:]))), true
}

// parseLink reads a link (RTM_NEWLINK).
func parseLink(p []byte) (index int, l link, ok bool) {
	if index, ok = linkIndex(p); !ok {
		return 0, l, false
	}
	l.kind = binary.NativeEndian.Uint16(p[2:])
	l.flags = binary.NativeEndian.Uint32(p[8:])
	for b := p[unix.SizeofIfInfomsg:]; ; {
		a, rest, ok := nextAttribute(b)
		if !ok {
			break
		}
		b = rest
		switch a.typ {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(a.value)
		case unix.IFLA_MTU:
			l.mtu = int(a.u32())
		case unix.IFLA_ADDRESS:
			if len(a.value) == len(l.mac) {
				copy(l.mac[:], a.value)
			}
		case unix.IFLA_BROADCAST:
			if len(a.value) == len(l.broadcast) {
				copy(l.broadcast[:], a.value)
			}
		}
	}
	return index, l, true
}

// parseAddress reads an address (RTM_NEWADDR, struct ifaddrmsg) of an
// interface.
func parseAddress(p []byte) (index int, a address, ok bool) {
	if len(p) < unix.SizeofIfAddrmsg {
		return 0, a, false
	}
	family, bits := p[0], int(p[1])
	a.flags, a.scope = uint32(p[2]), p[3]
	index = int(int32(binary.NativeEndian.Uint32(p[4:])))
	var own, subnet netip.Addr
	for b := p[unix.SizeofIfAddrmsg:]; ; {
		attr, rest, ok := nextAttribute(b)
		if !ok {
			break
		}
		b = rest
		switch attr.typ {
		case unix.IFA_LOCAL:
			own = addrOf(attr.value)
		case unix.IFA_ADDRESS:
			subnet = addrOf(attr.value)
		case unix.IFA_FLAGS: // all 32 bits of them
			a.flags = attr.u32()
		}
	}
	// The two differ on a point-to-point link: the prefix is the peer's then.
	switch {
	case !own.IsValid():
		own = subnet
	case subnet.IsValid() && subnet != own:
		bits = own.BitLen()
	}
	a.prefix = netip.PrefixFrom(own, bits)
	return index, a, validFamily(own, family) && a.prefix.IsValid()
}

// parseNeighbor reads a neighbor (RTM_NEWNEIGH, RTM_DELNEIGH, struct ndmsg).
// Not ok are the entries of bridges (AF_BRIDGE) and of proxies, groups, and
// those whose link-layer address is not of six bytes.
func parseNeighbor(p []byte) (index int, n Neighbor, ok bool) {
	if len(p) < unix.SizeofNdMsg {
		return 0, n, false
	}
	family, flags := p[0], p[10]
	index = int(int32(binary.NativeEndian.Uint32(p[4:])))
	n.State = State(binary.NativeEndian.Uint16(p[8:]))
	for b := p[unix.SizeofNdMsg:]; ; {
		a, rest, ok := nextAttribute(b)
		if !ok {
			break
		}
		b = rest
		switch a.typ {
		case unix.NDA_DST:
			n.Addr = addrOf(a.value)
		case unix.NDA_LLADDR:
			if len(a.value) != len(n.MAC) {
				return 0, n, false
			}
			copy(n.MAC[:], a.value)
		}
	}
	if !validFamily(n.Addr, family) || n.Addr.IsMulticast() || flags&unix.NTF_PROXY != 0 {
		return 0, n, false
	}
	return index, n, true
}

// foreignRule reports whether a rule (RTM_NEWRULE, struct fib_rule_hdr) is none
// of those that every namespace begins with: all packets to table local, main,
// and for IPv4 default.
func foreignRule(p []byte) bool {
	const size = 12
	if len(p) < size {
		return false
	}
	dstLen, srcLen, dscp, table, action := p[1], p[2], p[3], uint32(p[4]), p[7]
	flags := binary.NativeEndian.Uint32(p[8:])
	if dstLen|srcLen|dscp != 0 || action != unix.FR_ACT_TO_TBL || flags&unix.FIB_RULE_INVERT != 0 {
		return true
	}
	var priority uint32
	for b := p[size:]; ; {
		a, rest, ok := nextAttribute(b)
		if !ok {
			break
		}
		b = rest
		switch a.typ {
		case unix.FRA_PRIORITY:
			priority = a.u32()
		case unix.FRA_TABLE:
			table = a.u32()
		case unix.FRA_PROTOCOL: // who made the rule
		case unix.FRA_SUPPRESS_PREFIXLEN, unix.FRA_SUPPRESS_IFGROUP:
			if a.u32() != ^uint32(0) {
				return true
			}
		default:
			return true
		}
	}
	switch priority {
	case 0:
		return table != unix.RT_TABLE_LOCAL
	case 32766:
		return table != unix.RT_TABLE_MAIN
	case 32767:
		return table != unix.RT_TABLE_DEFAULT
	}
	return true
}

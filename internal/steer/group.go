//go:build linux

package steer

import (
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// The first byte of a multicast address: 224 to 239 in IPv4 (RFC 5771), all ones in
// IPv6 (RFC 4291 section 2.7).
const (
	ip4GroupMask, ip4Group = 0xf0, 0xe0
	ip6Group               = 0xff
)

// group is where frames go that are sent to a group of stations. Ours among them are
// plain datagrams to a multicast group that was joined (AddGroup), or to all hosts and a
// port that is listened on at all addresses: unfragmented, and without a tag, options or
// extension headers. All others the kernel gets, as ARP and neighbor discovery, and what
// was sent to us alone but to all stations.
func group() asm.Instructions {
	const ipv6, multicast, ports = "group-ipv6", "group-multicast", "group-ports"
	kernel := PassGroup.label()
	return join(
		at(labelGroup, read16(asm.R1, scratch+etherTypeAt)),
		asm.Instructions{
			asm.Mov.Imm(offset, etherLen),
			asm.JEq.Imm(asm.R1, unix.ETH_P_IPV6, ipv6),
			asm.JNE.Imm(asm.R1, unix.ETH_P_IP, kernel),
		},
		loadOr(scratch, ip4Len, kernel),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, scratch, asm.Byte),
			asm.JNE.Imm(asm.R1, ip4NoOption, kernel),
			asm.LoadMem(asm.R1, fp, scratch+ip4ProtoAt, asm.Byte),
			asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, kernel),
			asm.LoadMem(asm.R1, fp, scratch+ip4DestAt, asm.Byte),
			asm.And.Imm(asm.R1, ip4GroupMask),
			asm.StoreImm(fp, keyVersion, 4, asm.Byte),
			asm.JEq.Imm(asm.R1, ip4Group, multicast),
			asm.StoreImm(fp, keyVersion, versionBroadcast, asm.Byte),
		},
		at(multicast, read16(asm.R1, scratch+ip4FragmentAt)),
		asm.Instructions{asm.JSet.Imm(asm.R1, ip4Fragment, kernel)},
		mapped(remoteAddr, fp, scratch+ip4SourceAt),
		mapped(localAddr, fp, scratch+ip4DestAt),
		asm.Instructions{
			asm.Add.Imm(offset, ip4Len),
			asm.Ja.Label(ports),
		},
		at(ipv6, loadOr(ip6Header, ip6Len, kernel)),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, ip6Header, asm.Byte),
			asm.RSh.Imm(asm.R1, 4),
			asm.JNE.Imm(asm.R1, 6, kernel),
			asm.LoadMem(asm.R1, fp, ip6Header+ip6NextAt, asm.Byte),
			asm.JNE.Imm(asm.R1, unix.IPPROTO_UDP, kernel),
			asm.LoadMem(asm.R1, fp, localAddr, asm.Byte),
			asm.JNE.Imm(asm.R1, ip6Group, kernel),
			asm.StoreImm(fp, keyVersion, 6, asm.Byte),
			asm.Add.Imm(offset, ip6Len),
		},
		at(ports, loadOr(scratch, portsLen, kernel)),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, scratch, asm.Half),
			asm.LoadMem(asm.R2, fp, scratch+2, asm.Half),
			asm.Mov.Imm(proto, unix.IPPROTO_UDP),
		},
		finishKey(asm.R1, asm.R2),
		asm.Instructions{
			asm.Mov.Imm(quoted, outer.quoted),
			asm.Mov.Imm(proto, int32(RedirectListener)),
		},
	)
}

// matchGroup ends group: with the look-up, and without the flows.
func matchGroup(m *bpfMaps) asm.Instructions {
	return join(
		lookup(m.listeners.FD(), listenerKeyAt),
		asm.Instructions{
			asm.JNE.Imm(asm.R0, 0, labelRedirect),
			asm.Ja.Label(PassGroup.label()),
		},
	)
}

// AddGroup steers UDP that is sent to a multicast group and port. Nobody else on this
// machine gets it then: claim the port. Membership of the group is [Port.Join]'s.
//
// Errors, on which nothing changes: EINVAL, EEXIST, ENOSPC as of AddListener.
func (p *Program) AddGroup(group netip.AddrPort) error {
	return p.changeGroup(group, p.listening.addChecked)
}

// RemoveGroup takes back AddGroup. ENOENT if it was not added.
func (p *Program) RemoveGroup(group netip.AddrPort) error {
	return p.changeGroup(group, p.listening.removeChecked)
}

func (p *Program) changeGroup(group netip.AddrPort, change func(listener) error) error {
	err := p.use()
	if err == nil {
		defer p.mu.RUnlock()
		group = netip.AddrPortFrom(canonical(group.Addr()), group.Port())
		if !group.Addr().IsMulticast() || group.Port() == 0 {
			err = fmt.Errorf("not a multicast group and port: %w", unix.EINVAL)
		} else {
			err = change(listener{UDP, group})
		}
	}
	if err != nil {
		return fmt.Errorf("steer: group %v: %w", group, err)
	}
	return nil
}

// Join makes the kernel a member of a multicast group on an interface, for as long as
// the port is claimed or until Leave: it tells routers (IGMP, MLD), and has the NIC
// receive what is sent there. The port is of UDP and the group's IP version. Errors:
// EADDRINUSE if it is joined already, ENOBUFS for too many (net.ipv4.igmp_max_memberships),
// ENODEV, EINVAL, EBADF after Close.
func (p *Port) Join(group netip.Addr, ifindex int) error {
	return p.membership("joining", group, ifindex, unix.IP_ADD_MEMBERSHIP, unix.IPV6_JOIN_GROUP)
}

// Leave takes Join back. EADDRNOTAVAIL if the group is not joined.
func (p *Port) Leave(group netip.Addr, ifindex int) error {
	return p.membership("leaving", group, ifindex, unix.IP_DROP_MEMBERSHIP, unix.IPV6_LEAVE_GROUP)
}

func (p *Port) membership(what string, group netip.Addr, ifindex, opt4, opt6 int) error {
	group = canonical(group)
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if group.Is4() {
		err = unix.SetsockoptIPMreqn(p.fd, unix.IPPROTO_IP, opt4, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifindex)})
	} else {
		err = unix.SetsockoptIPv6Mreq(p.fd, unix.IPPROTO_IPV6, opt6, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifindex)})
	}
	if err != nil {
		return fmt.Errorf("steer: %s group %v on %s: %w", what, group, interfaceName(ifindex), err)
	}
	return nil
}

//go:build linux

package steer

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Lengths in bytes and places within the Ethernet header and an IEEE 802.1Q tag,
// which is a priority, the number of a VLAN, and the EtherType of what follows.
const (
	etherLen    = 14
	etherTypeAt = 12
	tagLen      = 4
	tagTypeAt   = 2
	vlanID      = 0xfff // of the tag's first 16 bits; 0: there is only a priority
)

// Labels of the parts of the program.
const (
	labelWalk      = "walk"
	labelGroup     = "group"
	labelEtherType = "ether-type"
	labelIPv4      = "ipv4"
	labelIPv6      = "ipv6"
	labelICMPv4    = "icmpv4"
	labelICMPv6    = "icmpv6"
	labelPorts     = "ports"
	labelMatch     = "match"
	labelRedirect  = "redirect"
	labelCount     = "count"
)

// instructions is the whole program.
func instructions(m *bpfMaps) asm.Instructions {
	return join(start(), direct(), walk(m))
}

// walk is the program without its short cut.
func walk(m *bpfMaps) asm.Instructions {
	return join(ethernet(), packet(outer), icmp(), packet(quote), group(), matchGroup(m), match(m), verdicts(), count(m))
}

// start is where a frame comes in.
func start() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(ctx, asm.R1),
		asm.Mov.Imm(offset, 0),
	}
}

// ethernet finds the IP header.
func ethernet() asm.Instructions {
	return join(
		at(labelWalk, load(scratch, etherLen)),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, scratch, asm.Byte),
			asm.JSet.Imm(asm.R1, 1, labelGroup), // the group bit of the destination
			asm.Mov.Imm(offset, etherLen),
		},
		read16(proto, scratch+etherTypeAt),
		asm.Instructions{asm.JNE.Imm(proto, unix.ETH_P_8021Q, labelEtherType)},
		load(scratch, tagLen),
		asm.Instructions{asm.Add.Imm(offset, tagLen)},
		read16(proto, scratch),
		asm.Instructions{asm.JSet.Imm(proto, vlanID, PassVLAN.label())}, // another interface's
		read16(proto, scratch+tagTypeAt),
		at(labelEtherType, asm.Instructions{
			asm.JEq.Imm(proto, unix.ETH_P_IP, labelIPv4),
			asm.JEq.Imm(proto, unix.ETH_P_IPV6, labelIPv6),
			asm.JEq.Imm(proto, unix.ETH_P_8021Q, PassVLAN.label()),
			asm.JEq.Imm(proto, unix.ETH_P_8021AD, PassVLAN.label()),
			asm.Ja.Label(PassNotIP.label()),
		}),
	)
}

//go:build linux

package steer

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// maxExtensions is how many extension headers of an IPv6 packet are walked: as
// many as the receiving stack does (wire.MaxExtensionHeaders).
const maxExtensions = 8

// IPv4 (RFC 791 section 3.1): lengths in bytes, and places within the header.
const (
	ip4Len        = 20
	ip4FragmentAt = 6
	ip4Fragment   = 0x3fff // more fragments, and the offset
	ip4ProtoAt    = 9
	ip4SourceAt   = 12
	ip4DestAt     = 16
)

// ipv4 reads an IPv4 header and leaves its addresses, mapped into IPv6 (RFC 4291
// section 2.5.5.2), in the key.
func ipv4() asm.Instructions {
	return join(
		at(labelIPv4, load(scratch, ip4Len)),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, scratch, asm.Byte),
			asm.Mov.Reg(asm.R2, asm.R1),
			asm.RSh.Imm(asm.R2, 4),
			asm.JNE.Imm(asm.R2, 4, PassMalformed.label()),
			asm.And.Imm(asm.R1, 15),
			asm.JLT.Imm(asm.R1, ip4Len/4, PassMalformed.label()),
			asm.LSh.Imm(asm.R1, 2),
			asm.Add.Reg(offset, asm.R1), // options are stepped over
		},
		read16(asm.R1, scratch+ip4FragmentAt),
		asm.Instructions{
			asm.JSet.Imm(asm.R1, ip4Fragment, PassFragment.label()),
			asm.LoadMem(proto, fp, scratch+ip4ProtoAt, asm.Byte),
		},
		mapped(remoteAddr, fp, scratch+ip4SourceAt),
		mapped(localAddr, fp, scratch+ip4DestAt),
		asm.Instructions{
			asm.StoreImm(fp, keyVersion, 4, asm.Byte),
			asm.JEq.Imm(proto, unix.IPPROTO_ICMP, labelICMPv4),
			asm.Ja.Label(labelPorts),
		},
	)
}

// mapped writes the IPv4 address at src+from to the stack, as ::ffff:a.b.c.d.
func mapped(to int16, src asm.Register, from int16) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(fp, to, asm.R1, asm.DWord),
		asm.StoreImm(fp, to+8, 0, asm.Half),
		asm.StoreImm(fp, to+10, -1, asm.Half),
		asm.LoadMem(asm.R1, src, from, asm.Word),
		asm.StoreMem(fp, to+12, asm.R1, asm.Word),
	}
}

// IPv6 (RFC 8200 section 3).
const (
	ip6Len    = 40
	ip6NextAt = 6
)

// ipv6 reads an IPv6 header, whose addresses thus get to their place in the key.
func ipv6() asm.Instructions {
	return join(
		at(labelIPv6, load(ip6Header, ip6Len)),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, ip6Header, asm.Byte),
			asm.RSh.Imm(asm.R1, 4),
			asm.JNE.Imm(asm.R1, 6, PassMalformed.label()),
			asm.Add.Imm(offset, ip6Len),
			asm.LoadMem(proto, fp, ip6Header+ip6NextAt, asm.Byte),
			asm.StoreImm(fp, keyVersion, 6, asm.Byte),
			asm.StoreImm(fp, extensions, 0, asm.Word),
		},
	)
}

// An extension header of IPv6 (RFC 8200 section 4) says what follows it and how
// long it is, in units of 8 bytes behind the first 8. The fourth byte of a routing
// header is the number of hops still to be visited.
const (
	extMinLen    = 8
	extLenAt     = 1
	extHopsAt    = 3
	extNextAt    = 0
	extLenShift  = 3
	protoICMPv6  = unix.IPPROTO_ICMPV6
	protoHop     = unix.IPPROTO_HOPOPTS
	protoOptions = unix.IPPROTO_DSTOPTS
	protoRouting = unix.IPPROTO_ROUTING
	protoFrag    = unix.IPPROTO_FRAGMENT
)

// extension follows the chain of extension headers. A packet on its way to further
// hops (segment routing) is the kernel's to forward, and a fragment its to
// reassemble, even one that is the whole packet (RFC 6946).
func extension() asm.Instructions {
	const header, routing = "extension-header", "extension-routing"
	return join(
		at(labelExtension, asm.Instructions{
			asm.JEq.Imm(proto, protoICMPv6, labelICMPv6),
			asm.JEq.Imm(proto, protoFrag, PassFragment.label()),
			asm.JEq.Imm(proto, protoHop, header),
			asm.JEq.Imm(proto, protoOptions, header),
			asm.JNE.Imm(proto, protoRouting, labelPorts),
		}),
		at(header, asm.Instructions{
			asm.LoadMem(asm.R1, fp, extensions, asm.Word),
			asm.JGE.Imm(asm.R1, maxExtensions, PassExtension.label()),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(fp, extensions, asm.R1, asm.Word),
		}),
		load(scratch, extMinLen),
		asm.Instructions{
			asm.JNE.Imm(proto, protoRouting, routing),
			asm.LoadMem(asm.R1, fp, scratch+extHopsAt, asm.Byte),
			asm.JNE.Imm(asm.R1, 0, PassExtension.label()),
		},
		at(routing, asm.Instructions{
			asm.LoadMem(proto, fp, scratch+extNextAt, asm.Byte),
			asm.LoadMem(asm.R1, fp, scratch+extLenAt, asm.Byte),
			asm.Add.Imm(asm.R1, 1),
			asm.LSh.Imm(asm.R1, extLenShift),
			asm.Add.Reg(offset, asm.R1),
			asm.Ja.Label(labelExtension),
		}),
	)
}

// ICMP errors, of RFC 792 and RFC 4443 section 3: 8 bytes, the first of which is the
// type, and the packet that the error is about, as much of it as is quoted.
const (
	icmpLen = 8

	icmp4Unreachable = 3
	icmp4Exceeded    = 11
	icmp6Unreachable = 1
	icmp6TooBig      = 2
	icmp6Exceeded    = 3
)

// icmpv4 goes on to the quoted packet of an error.
func icmpv4() asm.Instructions {
	return icmp(labelICMPv4, labelIPv4, icmp4Unreachable, icmp4Exceeded)
}

// icmpv6 does the same for IPv6.
func icmpv6() asm.Instructions {
	return icmp(labelICMPv6, labelIPv6, icmp6Unreachable, icmp6TooBig, icmp6Exceeded)
}

func icmp(label, ip string, errors ...int32) asm.Instructions {
	isError := label + "-error"
	insns := join(
		// There are no errors about errors.
		at(label, asm.Instructions{asm.JNE.Imm(quoted, 0, PassProtocol.label())}),
		load(scratch, icmpLen),
		asm.Instructions{asm.LoadMem(asm.R1, fp, scratch, asm.Byte)},
	)
	for _, e := range errors {
		insns = append(insns, asm.JEq.Imm(asm.R1, e, isError))
	}
	return join(
		insns,
		asm.Instructions{asm.Ja.Label(PassProtocol.label())},
		at(isError, asm.Instructions{
			asm.Add.Imm(offset, icmpLen),
			asm.Mov.Imm(quoted, 1),
			asm.Ja.Label(ip),
		}),
	)
}

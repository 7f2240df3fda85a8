//go:build linux

package steer

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// A level is which packet a part of the program reads: the one that came in, or the
// one that is quoted in it. There is a copy of these parts for each, and one for each
// extension header, so that the program has no loop: Linux 6.1 explores, without
// CAP_PERFMON, also those branches that a CPU only speculates on taking, and there no
// counter ends a loop.
type level struct {
	prefix string // of labels
	quoted int32
}

var (
	outer = level{"", 0}
	quote = level{"quoted-", 1}
)

func (l level) label(name string) string { return l.prefix + name }

// packet reads an IP packet up to its ports.
func packet(l level) asm.Instructions { return join(ipv4(l), ipv6(l), ports(l)) }

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
func ipv4(l level) asm.Instructions {
	return join(
		at(l.label(labelIPv4), load(scratch, ip4Len)),
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
		asm.Instructions{asm.StoreImm(fp, keyVersion, 4, asm.Byte)},
		l.onError(unix.IPPROTO_ICMP, labelICMPv4),
		asm.Instructions{asm.Ja.Label(l.label(labelPorts))},
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

// onError goes to where an ICMP message is read, unless it is itself quoted in one:
// there are no errors about errors.
func (l level) onError(icmp int32, label string) asm.Instructions {
	if l == quote {
		return nil
	}
	return asm.Instructions{asm.JEq.Imm(proto, icmp, label)}
}

// IPv6 (RFC 8200 section 3).
const (
	ip6Len    = 40
	ip6NextAt = 6
)

// ipv6 reads an IPv6 header, whose addresses thus get to their place in the key, and
// the chain of extension headers.
func ipv6(l level) asm.Instructions {
	insns := join(
		at(l.label(labelIPv6), load(ip6Header, ip6Len)),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, ip6Header, asm.Byte),
			asm.RSh.Imm(asm.R1, 4),
			asm.JNE.Imm(asm.R1, 6, PassMalformed.label()),
			asm.Add.Imm(offset, ip6Len),
			asm.LoadMem(proto, fp, ip6Header+ip6NextAt, asm.Byte),
			asm.StoreImm(fp, keyVersion, 6, asm.Byte),
		},
	)
	for n := range maxExtensions {
		walk := l.label(fmt.Sprint("extension-", n))
		insns = join(insns, l.extension(walk), at(walk, stepOver(walk)))
	}
	return join(insns, l.extension(PassExtension.label()))
}

// What can follow an IPv6 header (RFC 8200 section 4). An extension header says what
// follows it and how long it is, in units of 8 bytes behind the first 8. The fourth
// byte of a routing header is the number of hops still to be visited.
const (
	protoOptions  = unix.IPPROTO_DSTOPTS
	protoHop      = unix.IPPROTO_HOPOPTS
	protoRouting  = unix.IPPROTO_ROUTING
	protoFragment = unix.IPPROTO_FRAGMENT

	extMinLen   = 8
	extNextAt   = 0
	extLenAt    = 1
	extHopsAt   = 3
	extLenShift = 3
)

// extension goes to walk if an extension header follows that can be stepped over, and
// to the ports if none does. A fragment is the kernel's to reassemble, even one that
// is the whole packet (RFC 6946).
func (l level) extension(walk string) asm.Instructions {
	return join(
		l.onError(unix.IPPROTO_ICMPV6, labelICMPv6),
		asm.Instructions{
			asm.JEq.Imm(proto, protoFragment, PassFragment.label()),
			asm.JEq.Imm(proto, protoHop, walk),
			asm.JEq.Imm(proto, protoOptions, walk),
			asm.JEq.Imm(proto, protoRouting, walk),
			asm.Ja.Label(l.label(labelPorts)),
		},
	)
}

// stepOver reads an extension header. A packet on its way to further hops (segment
// routing) is the kernel's to forward.
func stepOver(label string) asm.Instructions {
	arrived := label + "-arrived"
	return join(
		load(scratch, extMinLen),
		asm.Instructions{
			asm.JNE.Imm(proto, protoRouting, arrived),
			asm.LoadMem(asm.R1, fp, scratch+extHopsAt, asm.Byte),
			asm.JNE.Imm(asm.R1, 0, PassExtension.label()),
		},
		at(arrived, asm.Instructions{
			asm.LoadMem(proto, fp, scratch+extNextAt, asm.Byte),
			asm.LoadMem(asm.R1, fp, scratch+extLenAt, asm.Byte),
			asm.Add.Imm(asm.R1, 1),
			asm.LSh.Imm(asm.R1, extLenShift),
			asm.Add.Reg(offset, asm.R1),
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

// icmp goes on to the quoted packet of an error, and passes other messages.
func icmp() asm.Instructions {
	return join(
		icmpError(labelICMPv4, labelIPv4, icmp4Unreachable, icmp4Exceeded),
		icmpError(labelICMPv6, labelIPv6, icmp6Unreachable, icmp6TooBig, icmp6Exceeded),
	)
}

func icmpError(label, ip string, errors ...int32) asm.Instructions {
	isError := label + "-error"
	insns := join(
		at(label, load(scratch, icmpLen)),
		asm.Instructions{asm.LoadMem(asm.R1, fp, scratch, asm.Byte)},
	)
	for _, e := range errors {
		insns = append(insns, asm.JEq.Imm(asm.R1, e, isError))
	}
	return join(insns,
		asm.Instructions{asm.Ja.Label(PassProtocol.label())},
		at(isError, asm.Instructions{
			asm.Add.Imm(offset, icmpLen),
			asm.Ja.Label(quote.label(ip)),
		}),
	)
}

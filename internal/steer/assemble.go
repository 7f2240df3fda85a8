//go:build linux

package steer

import "github.com/cilium/ebpf/asm"

// What the registers hold, from the first instruction to the last. R0 to R5 belong
// to the calls.
const (
	ctx    = asm.R6 // struct xdp_md
	offset = asm.R7 // of the header being read, in bytes from the frame's start
	proto  = asm.R8 // EtherType or IP protocol; in the end, the verdict
	quoted = asm.R9 // from the match on, 1 if it was the packet that an ICMP error quotes, else 0; in the end, the XDP action
	fp     = asm.R10
)

// What the stack holds, as offsets from the frame pointer.
//
// The keys of both maps lie in one another, and where an IPv6 header that is loaded
// at ip6Header brings its addresses: the flow's begins on the header's 4 bytes of
// length, next header and hop limit, and the listener's is its end.
//
//	-48 -44            -40               -24               -8          -4
//	 |   |              |                 |                 |           |
//	 |   | length, next | source          | destination     |           |   IPv6 header
//	     | port, 0      | remote address  | local address   | port, proto, version  flow's key
//	                                      | local address   | port, proto, version  listener's key
const (
	ip6Header = -48

	flowKeyAt     = -44
	remotePort    = flowKeyAt
	remoteAddr    = -40
	listenerKeyAt = -24
	localAddr     = listenerKeyAt
	localPort     = -8
	keyProto      = -6
	keyVersion    = -5

	// scratch has room for any other header that is read: 24 bytes.
	scratch = -72
	// counterKey is the index of a counter.
	counterKey = -76
)

// join makes one program of parts.
func join(parts ...asm.Instructions) asm.Instructions {
	var all asm.Instructions
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// at names the first instruction, for jumps to it.
func at(label string, insns asm.Instructions) asm.Instructions {
	insns[0] = insns[0].WithSymbol(label)
	return insns
}

// load copies n bytes of the frame, from the current offset on, to the stack. The
// frame is malformed if it ends before.
func load(to int16, n int32) asm.Instructions { return loadOr(to, n, PassMalformed.label()) }

// loadOr is load that goes to a label of its own if the frame ends before.
func loadOr(to int16, n int32, label string) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, ctx),
		asm.Mov.Reg(asm.R2, offset),
		asm.Mov.Reg(asm.R3, fp),
		asm.Add.Imm(asm.R3, int32(to)),
		asm.Mov.Imm(asm.R4, n),
		asm.FnXdpLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, label),
	}
}

// read16 reads a big-endian number from the stack.
func read16(dst asm.Register, from int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(dst, fp, from, asm.Half),
		asm.HostTo(asm.BE, dst, asm.Half),
	}
}

// lookup leaves in R0 a pointer to the value of the key on the stack, or 0.
func lookup(mapFD int, key int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, mapFD),
		asm.Mov.Reg(asm.R2, fp),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
	}
}

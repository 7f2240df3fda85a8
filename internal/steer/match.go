//go:build linux

package steer

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// XDP actions (enum xdp_action of linux/bpf.h).
const (
	xdpPass     = 2
	xdpRedirect = 4
)

// rxQueueAt is the offset of rx_queue_index in struct xdp_md.
const rxQueueAt = 16

// ports completes the key with the ports and the protocol. TCP and UDP both begin
// with the two ports, source first.
func ports(l level) asm.Instructions {
	source, dest := int16(scratch), int16(scratch+2)
	var swapped asm.Instructions
	if l == quote {
		// A quoted packet is one that we have sent: its source is local.
		source, dest = dest, source
		swapped = join(swap(remoteAddr, localAddr), swap(remoteAddr+8, localAddr+8))
	}
	transport := l.label("transport")
	return join(
		at(l.label(labelPorts), asm.Instructions{
			asm.JEq.Imm(proto, unix.IPPROTO_TCP, transport),
			asm.JNE.Imm(proto, unix.IPPROTO_UDP, PassProtocol.label()),
		}),
		at(transport, load(scratch, portsLen)),
		asm.Instructions{
			asm.LoadMem(asm.R1, fp, source, asm.Half),
			asm.LoadMem(asm.R2, fp, dest, asm.Half),
		},
		swapped,
		finishKey(asm.R1, asm.R2),
		asm.Instructions{
			asm.Mov.Imm(quoted, l.quoted),
			asm.Ja.Label(labelMatch),
		},
	)
}

// finishKey completes a key that has addresses and the IP version: with the ports,
// in network order, and the protocol. The local port comes last: it is stored where
// 8 aligned bytes begin, which for the verifier of Linux 6.1 is a spilled register,
// whose neighbors must not be written any more without CAP_PERFMON.
func finishKey(remote, local asm.Register) asm.Instructions {
	return asm.Instructions{
		asm.StoreMem(fp, remotePort, remote, asm.Half),
		asm.StoreImm(fp, remotePort+2, 0, asm.Half),
		asm.StoreMem(fp, keyProto, proto, asm.Byte),
		asm.StoreMem(fp, localPort, local, asm.Half),
	}
}

// swap exchanges 8 bytes of the stack with 8 others.
func swap(a, b int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R3, fp, a, asm.DWord),
		asm.LoadMem(asm.R4, fp, b, asm.DWord),
		asm.StoreMem(fp, a, asm.R4, asm.DWord),
		asm.StoreMem(fp, b, asm.R3, asm.DWord),
	}
}

// match looks the key up and redirects what is found. Listeners come first: what a
// server receives is found at once.
func match(m *bpfMaps) asm.Instructions {
	return join(
		at(labelMatch, asm.Instructions{asm.Mov.Imm(proto, int32(RedirectListener))}),
		lookup(m.listeners.FD(), listenerKeyAt),
		asm.Instructions{
			asm.JNE.Imm(asm.R0, 0, labelRedirect),
			asm.Mov.Imm(proto, int32(RedirectFlow)),
		},
		lookup(m.flows.FD(), flowKeyAt),
		asm.Instructions{
			asm.JEq.Imm(asm.R0, 0, PassUnmatched.label()),
		},
		at(labelRedirect, asm.Instructions{
			asm.JEq.Imm(quoted, 0, "redirect-queue"),
			asm.Mov.Imm(proto, int32(RedirectError)),
		}),
		at("redirect-queue", asm.Instructions{
			asm.LoadMapPtr(asm.R1, m.sockets.FD()),
			asm.LoadMem(asm.R2, ctx, rxQueueAt, asm.Word),
			asm.Mov.Imm(asm.R3, xdpPass), // if the queue has no socket
			asm.FnRedirectMap.Call(),
			asm.Mov.Reg(quoted, asm.R0),
			asm.JEq.Imm(asm.R0, xdpRedirect, labelCount),
			asm.Ja.Label(PassNoSocket.label()),
		}),
	)
}

// verdicts are the ways out to the kernel, one for each reason.
func verdicts() asm.Instructions {
	var insns asm.Instructions
	for v := RedirectError + 1; int(v) < Verdicts; v++ {
		insns = append(insns, at(v.label(), asm.Instructions{
			asm.Mov.Imm(proto, int32(v)),
			asm.Mov.Imm(quoted, xdpPass),
			asm.Ja.Label(labelCount),
		})...)
	}
	return insns
}

// count is the end: it counts the verdict and returns the action. The counter is
// of this CPU, where nothing else runs the program meanwhile.
func count(m *bpfMaps) asm.Instructions {
	return join(
		at(labelCount, asm.Instructions{asm.StoreMem(fp, counterKey, proto, asm.Word)}),
		lookup(m.counters.FD(), counterKey),
		asm.Instructions{
			asm.JEq.Imm(asm.R0, 0, "return"), // for the verifier; each verdict has one
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.Add.Imm(asm.R1, 1),
			asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		},
		at("return", asm.Instructions{
			asm.Mov.Reg(asm.R0, quoted),
			asm.Return(),
		}),
	)
}

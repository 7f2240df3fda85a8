//go:build linux

package xdp

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	bpf "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
)

// A program is an XDP program that redirects every frame to the socket of its
// queue, and passes it to the kernel if there is none.
type program struct {
	t       testing.TB
	sockets *ebpf.Map
	prog    *ebpf.Program
}

func newProgram(t testing.TB) *program {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	const rxQueueIndex = 16 // in struct xdp_md
	const xdpPass = 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "MIT", Flags: unix.BPF_F_XDP_HAS_FRAGS,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, rxQueueIndex, asm.Word),
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.Mov.Imm(asm.R3, xdpPass),
			asm.FnRedirectMap.Call(),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	return &program{t: t, sockets: m, prog: prog}
}

// attach attaches the program to an interface until the test ends.
func (p *program) attach(ns *netns.NS, index int, flags bpf.XDPAttachFlags) {
	p.t.Helper()
	var l bpf.Link
	err := ns.Do(func() (err error) {
		l, err = bpf.AttachXDP(bpf.XDPOptions{Program: p.prog, Interface: index, Flags: flags})
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { l.Close() })
}

// register is a Config's Register.
func (p *program) register(queue, fd int) error {
	return p.sockets.Put(uint32(queue), uint32(fd))
}

// unregister is a Config's Unregister, of a queue that is registered.
func (p *program) unregister(queue int) {
	if err := p.sockets.Delete(uint32(queue)); err != nil {
		p.t.Errorf("queue %d was not registered: %v", queue, err)
	}
}

//go:build linux

package steer

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// A Quiet is a program that drops every frame. In the place of the steering program it
// keeps frames from the kernel, for a moment in which a driver can't deal with them.
type Quiet struct{ drop *ebpf.Program }

// LoadQuiet puts it into the kernel. The caller closes it. Errors are those of Load.
func LoadQuiet() (*Quiet, error) {
	const drop = 1 // XDP_DROP, linux/bpf.h
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "zctap_quiet",
		Type:         ebpf.XDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, drop), asm.Return()},
		License:      "Apache-2.0",
		Flags:        unix.BPF_F_XDP_HAS_FRAGS,
	})
	if err != nil {
		return nil, fmt.Errorf("steer: loading the program that drops all: %w%s", err, permissionHint(err))
	}
	return &Quiet{p}, nil
}

// Close lets go of the program, which goes on to drop where it is attached.
func (q *Quiet) Close() error { return q.drop.Close() }

// Hush has the interface drop every frame, until Resume or Close. It needs no capability.
func (l *Link) Hush(q *Quiet) error { return l.update(q.drop) }

// Resume has the interface run p, which was attached, again.
func (l *Link) Resume(p *Program) error {
	if err := p.use(); err != nil {
		return err
	}
	defer p.mu.RUnlock()
	return l.update(p.prog)
}

func (l *Link) update(p *ebpf.Program) error {
	if l.link == nil {
		return ErrDetached
	}
	if err := l.link.Update(p); err != nil {
		return fmt.Errorf("steer: exchanging the XDP program: %w", err)
	}
	return nil
}

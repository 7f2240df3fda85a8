//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// programName is what bpftool(8) shows, and another zctap in its error.
const programName = "zctap_steer"

// Options bound what a program can hold. The kernel's memory for it is allocated
// at once, so that nothing fails later for want of it: about 110 bytes for each
// listener and each flow, 8 MB for the zero Options.
type Options struct {
	// Queues is one more than the highest receive queue that can have a socket; 0:
	// DefaultQueues.
	Queues int
	// Listeners is how many pairs of local address and port can be listened on; 0:
	// DefaultListeners. A listener on any address needs one for each address,
	// and of UDP one for each broadcast address.
	Listeners int
	// Flows is how many flows there can be; 0: DefaultFlows.
	Flows int
}

// What the zero Options stand for, and the most that can be asked for.
const (
	DefaultQueues    = 64
	DefaultListeners = 4096
	DefaultFlows     = 1 << 16

	MaxQueues    = 4096
	MaxListeners = 1 << 20
	MaxFlows     = 1 << 22
)

// bound replaces zeros by defaults and says what is out of bounds.
func (o Options) bound() (Options, error) {
	for _, b := range []struct {
		name         string
		n            *int
		zero, at, up int
	}{
		{"Queues", &o.Queues, DefaultQueues, 1, MaxQueues},
		{"Listeners", &o.Listeners, DefaultListeners, 1, MaxListeners},
		{"Flows", &o.Flows, DefaultFlows, 1, MaxFlows},
	} {
		if *b.n == 0 {
			*b.n = b.zero
		}
		if *b.n < b.at || *b.n > b.up {
			return o, fmt.Errorf("the value of Options.%s is %d, must be from %d to %d: %w", b.name, *b.n, b.at, b.up, unix.EINVAL)
		}
	}
	return o, nil
}

// bpfMaps is what the program and we both see.
type bpfMaps struct {
	sockets   *ebpf.Map // queue -> AF_XDP socket
	listeners *ebpf.Map // listenerKey -> nothing
	flows     *ebpf.Map // flowKey -> nothing
	counters  *ebpf.Map // Verdict -> frames, for each CPU
}

// A Program is the steering program in the kernel, for one interface. Its methods
// may be called from any goroutine, in any network namespace but for Attach, and
// fail with net.ErrClosed after Close.
type Program struct {
	bpfMaps
	o         Options
	prog      *ebpf.Program
	refuse    *ebpf.Program // the filter of sockets that hold ports
	listening listenerSet

	attachXDP func(link.XDPOptions) (link.Link, error) // link.AttachXDP, but in a test

	mu   sync.RWMutex // held for reading while the descriptors are used
	done bool         // Close was called
}

// Load puts the program and its maps, empty, into the kernel. It does nothing yet:
// Attach does. The caller closes it.
//
// Errors: EINVAL for options that are out of bounds; EPERM, which names the missing
// capability; ebpf.ErrNotSupported for a kernel that is too old (before 5.18);
// ENOMEM.
func Load(o Options) (*Program, error) {
	o, err := o.bound()
	if err != nil {
		return nil, fmt.Errorf("steer: %w", err)
	}
	p := &Program{o: o, attachXDP: link.AttachXDP}
	if err := p.load(); err != nil {
		p.Close()
		return nil, fmt.Errorf("steer: %w", err)
	}
	p.listening = newListenerSet(o.Listeners, p.listeners)
	return p, nil
}

func (p *Program) load() (err error) {
	for _, m := range []struct {
		m    **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&p.sockets, ebpf.MapSpec{Name: "zctap_sockets", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(p.o.Queues)}},
		{&p.listeners, ebpf.MapSpec{Name: "zctap_listen", Type: ebpf.Hash, KeySize: uint32(len(listenerKey{})), ValueSize: 4, MaxEntries: uint32(p.o.Listeners)}},
		{&p.flows, ebpf.MapSpec{Name: "zctap_flows", Type: ebpf.Hash, KeySize: uint32(len(flowKey{})), ValueSize: 4, MaxEntries: uint32(p.o.Flows)}},
		{&p.counters, ebpf.MapSpec{Name: "zctap_verdicts", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: uint32(Verdicts)}},
	} {
		if *m.m, err = ebpf.NewMap(&m.spec); err != nil {
			return fmt.Errorf("creating the BPF map %s: %w%s", m.spec.Name, err, permissionHint(err))
		}
	}
	p.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         programName,
		Type:         ebpf.XDP,
		Instructions: instructions(&p.bpfMaps),
		License:      "Apache-2.0",
		Flags:        unix.BPF_F_XDP_HAS_FRAGS,
	})
	if err != nil {
		if missing := features.HaveProgramHelper(ebpf.XDP, asm.FnXdpLoadBytes); errors.Is(missing, ebpf.ErrNotSupported) {
			err = fmt.Errorf("the kernel is older than Linux 5.18: %w", missing)
		}
		return fmt.Errorf("loading the XDP program: %w%s", err, permissionHint(err))
	}
	p.refuse, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "zctap_refuse",
		Type:         ebpf.SocketFilter,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}, // accept 0 bytes
		License:      "Apache-2.0",
	})
	if err != nil {
		return fmt.Errorf("loading the filter of claimed ports: %w%s", err, permissionHint(err))
	}
	return nil
}

// Close lets go of program and maps. They go on to exist, and to steer, while an
// attached link is open: close that first. Idempotent.
func (p *Program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return nil
	}
	p.done = true
	err := errors.Join(p.prog.Close(), p.refuse.Close())
	for _, m := range []*ebpf.Map{p.sockets, p.listeners, p.flows, p.counters} {
		err = errors.Join(err, m.Close())
	}
	if err != nil {
		return fmt.Errorf("steer: close: %w", err)
	}
	return nil
}

// use begins a use of the descriptors, which keeps Close waiting until the caller
// calls p.mu.RUnlock; or it fails.
func (p *Program) use() error {
	p.mu.RLock()
	if p.done {
		p.mu.RUnlock()
		return net.ErrClosed
	}
	return nil
}

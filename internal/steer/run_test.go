//go:build linux

package steer

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// A bench runs frames through the program in the kernel (BPF_PROG_TEST_RUN), as it
// is and without its short cut, and knows the rules that it goes by.
type bench struct {
	*Program
	rules rules
	walk  *ebpf.Program
}

// newBench listens on the ports 80 of our addresses (TCP) and 53 of our IPv4 address
// (UDP) and of all hosts, is in groups at port 53, and has flows from port 1000 of the peer to 2000 of ours.
func newBench(t testing.TB) *bench {
	t.Helper()
	needBPF(t)
	b := &bench{
		Program: loaded(t, Options{Queues: 1, Listeners: 16, Flows: 16}),
		rules:   rules{listeners: make(map[refListener]bool), broadcasts: make(map[refListener]bool), flows: make(map[refFlow]bool)},
	}
	b.walk = assembled(t, append(start(), walk(&b.bpfMaps)...))
	for _, l := range []refListener{
		{protoTCP, port(our4, 80)},
		{protoTCP, port(our6, 80)},
		{protoUDP, port(our4, 53)},
	} {
		must(t, b.AddListener(Proto(l.proto), l.local))
		b.rules.listeners[l] = true
	}
	must(t, b.AddListener(UDP, port(all4, 53)))
	b.rules.broadcasts[refListener{protoUDP, port(all4, 53)}] = true
	for _, g := range []netip.Addr{group4, group6} {
		must(t, b.AddGroup(port(g, 53)))
		b.rules.listeners[refListener{protoUDP, port(g, 53)}] = true
	}
	for _, f := range []refFlow{
		{protoTCP, port(our4, 2000), port(peer4, 1000)},
		{protoUDP, port(our4, 2000), port(peer4, 1000)},
		{protoTCP, port(our6, 2000), port(peer6, 1000)},
		{protoUDP, port(our6, 2000), port(peer6, 1000)},
	} {
		must(t, b.AddFlow(Proto(f.proto), f.local, f.remote))
		b.rules.flows[f] = true
	}
	return b
}

// withSocket gives queue 0 a socket.
func (b *bench) withSocket(t testing.TB) {
	t.Helper()
	must(t, b.SetSocket(0, ringSocket(t)))
	b.rules.socket = true
}

// ringSocket is an AF_XDP socket with an RX ring, and nothing else.
func ringSocket(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.SetsockoptInt(fd, unix.SOL_XDP, unix.XDP_RX_RING, 64))
	return fd
}

// action runs the program and returns the XDP action.
func action(t testing.TB, p *ebpf.Program, frame []byte) uint32 {
	t.Helper()
	got, err := p.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		t.Fatalf("running a frame of %d bytes: %v", len(frame), err)
	}
	return got
}

// verdict runs the program and returns the one verdict that was counted. The
// action must agree with it.
func (b *bench) verdict(t testing.TB, p *ebpf.Program, frame []byte) Verdict {
	t.Helper()
	before := countersOf(t, b.Program)
	got := action(t, p, frame)
	verdict, counted := Verdict(0), uint64(0)
	for v, n := range countersOf(t, b.Program) {
		if n -= before[v]; n != 0 {
			verdict = Verdict(v)
			counted += n
		}
	}
	if counted != 1 {
		t.Fatalf("%d verdicts for one frame: %x", counted, frame)
	}
	if want := actionOf(verdict); got != want {
		t.Fatalf("verdict %v with action %d: %x", verdict, got, frame)
	}
	return verdict
}

// actionOf is what a verdict's action is to be, of enum xdp_action.
func actionOf(v Verdict) uint32 {
	if v == RedirectListener || v == RedirectFlow || v == RedirectError {
		return 4
	}
	return 2
}

// programs are the program as it is, and without its short cut.
func (b *bench) programs() map[string]*ebpf.Program {
	return map[string]*ebpf.Program{"whole": b.prog, "walk": b.walk}
}

// xdpMD is struct xdp_md of linux/bpf.h, with offsets into the frame for pointers.
type xdpMD struct {
	Data, DataEnd, DataMeta, Ingress, Queue, Egress uint32
}

// runSplit runs the program on a frame of which only the first linear bytes lie
// together, and the rest in further buffers.
func runSplit(p *ebpf.Program, frame []byte, linear int) (uint32, error) {
	return p.Run(&ebpf.RunOptions{Data: frame, Context: xdpMD{DataEnd: uint32(linear)}})
}

// needSplit ends the test unless the kernel splits frames where runSplit says. Some
// before 6.18 refuse that.
func needSplit(t testing.TB) {
	t.Helper()
	linear := assembled(t, asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, dataAt, asm.Word),
		asm.LoadMem(asm.R0, asm.R1, dataEndAt, asm.Word),
		asm.Sub.Reg(asm.R0, asm.R2),
		asm.Return(),
	})
	if n, err := runSplit(linear, make([]byte, 9000), 77); n != 77 {
		testenv.SkipOrFail(t, "needs Linux 6.18, which runs programs on frames split where one likes: %d bytes are together, want 77: %v", n, err)
	}
}

// assembled is a program of these instructions.
func assembled(t testing.TB, insns asm.Instructions) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.XDP,
		Instructions: insns,
		License:      "Apache-2.0",
		Flags:        unix.BPF_F_XDP_HAS_FRAGS,
	})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

// addrs parses addresses.
func addrs(s ...string) []netip.Addr {
	var as []netip.Addr
	for _, a := range s {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

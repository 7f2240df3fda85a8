//go:build linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// TestNSFull: a map that is full says so, changes nothing, and takes more when there
// is room again.
func TestNSFull(t *testing.T) {
	needBPF(t)
	p := loaded(t, Options{Listeners: 8, Flows: 100})
	remote := func(n int) string { return fmt.Sprintf("10.1.2.3:%d", 1000+n) }
	for n := range 100 {
		must(t, p.AddFlow(TCP, port(our4, 80), ap(remote(n))))
	}
	err := p.AddFlow(TCP, port(our4, 80), ap(remote(100)))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "there are 100 already, see Options.Flows") {
		t.Errorf("one flow too many: %v", err)
	}
	if err := p.AddFlow(TCP, port(our4, 80), ap(remote(50))); !errors.Is(err, unix.EEXIST) {
		t.Errorf("one flow twice: %v", err)
	}
	must(t, p.RemoveFlow(TCP, port(our4, 80), ap(remote(50))))
	if err := p.RemoveFlow(TCP, port(our4, 80), ap(remote(50))); !errors.Is(err, unix.ENOENT) {
		t.Errorf("removed twice: %v", err)
	}
	must(t, p.AddFlow(TCP, port(our4, 80), ap(remote(100))))

	for n := range 8 {
		must(t, p.AddListener(TCP, port(our4, uint16(1+n))))
	}
	if err := p.AddListener(TCP, port(our4, 9)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("one listener too many: %v", err)
	}
	must(t, p.RemoveListener(TCP, port(our4, 1)), p.AddListener(TCP, port(our4, 9)))
}

// TestNSSocketErrors: what is not a socket of a queue is refused.
func TestNSSocketErrors(t *testing.T) {
	needBPF(t)
	p := loaded(t, Options{Queues: 2})
	file, err := os.Open("/proc/self/status")
	must(t, err)
	defer file.Close()
	datagram, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(datagram)
	xdp := ringSocket(t)
	for _, c := range []struct {
		queue, fd int
		want      unix.Errno
		says      string
	}{
		{-1, xdp, unix.EINVAL, "there are 2, see Options.Queues"},
		{2, xdp, unix.EINVAL, "there are 2, see Options.Queues"},
		{0, -1, unix.EBADF, "descriptor -1"},
		{0, 4711, unix.EBADF, "queue 0"},
		{0, int(file.Fd()), unix.EINVAL, "not an AF_XDP socket"},
		{0, datagram, unix.EINVAL, "not an AF_XDP socket"},
	} {
		if err := p.SetSocket(c.queue, c.fd); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("queue %d, descriptor %d: %v; want %v that says %q", c.queue, c.fd, err, c.want, c.says)
		}
	}
	for _, queue := range []int{-1, 2} {
		if err := p.ClearSocket(queue); !errors.Is(err, unix.EINVAL) {
			t.Errorf("ClearSocket(%d): %v", queue, err)
		}
	}
	must(t, p.SetSocket(1, xdp), p.SetSocket(1, xdp), p.ClearSocket(1), p.ClearSocket(1), p.ClearSocket(0))
}

// TestNSClosed: after Close every call says that it was.
func TestNSClosed(t *testing.T) {
	needBPF(t)
	p := loaded(t, Options{})
	must(t, p.Close(), p.Close())
	_, counters := p.Counters()
	_, attach := p.Attach(1, Generic)
	for name, err := range map[string]error{
		"Counters":       counters,
		"Attach":         attach,
		"SetSocket":      p.SetSocket(0, 1),
		"ClearSocket":    p.ClearSocket(0),
		"AddListener":    p.AddListener(TCP, port(our4, 1)),
		"RemoveListener": p.RemoveListener(TCP, port(our4, 1)),
		"SetPrefixes":    p.SetPrefixes(nil),
		"AddFlow":        p.AddFlow(TCP, port(our4, 1), port(peer4, 1)),
		"RemoveFlow":     p.RemoveFlow(TCP, port(our4, 1), port(peer4, 1)),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// TestNSConcurrent: calls from many goroutines, and Close in their midst.
func TestNSConcurrent(t *testing.T) {
	needBPF(t)
	p := loaded(t, Options{Listeners: 100, Flows: 100})
	calls := []func(n uint16) error{
		func(n uint16) error {
			return errors.Join(p.AddFlow(TCP, port(our4, n), port(peer4, n)), p.RemoveFlow(TCP, port(our4, n), port(peer4, n)))
		},
		func(n uint16) error {
			return errors.Join(p.AddListener(UDP, port(netip.IPv4Unspecified(), n)), p.RemoveListener(UDP, port(netip.IPv4Unspecified(), n)))
		},
		func(n uint16) error { return p.SetPrefixes(hosts("10.1.1.1", fmt.Sprintf("10.1.2.%d", n%256))) },
		func(uint16) error { _, err := p.Counters(); return err },
		func(uint16) error { return p.ClearSocket(0) },
	}
	var wg sync.WaitGroup
	begun := make(chan struct{}, 2*len(calls))
	for i := range 2 * len(calls) {
		wg.Go(func() {
			for n := uint16(i + 1); ; n += uint16(2 * len(calls)) {
				if n == 0 {
					continue
				}
				err := calls[i%len(calls)](n)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestNSKind: what holds a program is found out, and the question changes nothing.
func TestNSKind(t *testing.T) {
	needBPF(t)
	w := newWire(t, 0)
	p, other := loaded(t, Options{}), loaded(t, Options{})
	kindOf := func(mode Mode) (k Kind) {
		t.Helper()
		before := w.attached(t)
		must(t, w.ours.Do(func() error { k = other.kindOf(w.ifindex, mode); return nil }))
		if after := w.attached(t); after != before {
			t.Errorf("attached was %+v, is %+v", before, after)
		}
		return k
	}
	for _, mode := range []Mode{Native, Generic} {
		l := w.attach(t, p, mode)
		if got := kindOf(mode); got != KindLink {
			t.Errorf("%v, by a link: kind %d", mode, got)
		}
		id := w.attached(t).program
		if h, ok := findHolder(w.ifindex, id); !ok || h.pid != os.Getpid() {
			t.Errorf("held by us, found %+v, %v", h, ok)
		}
		if h, ok := findHolder(w.ifindex+1000, id); ok {
			t.Errorf("on another interface, held by %+v", h)
		}
		must(t, l.Close())
		w.setXDP(t, p.prog.FD(), mode)
		if got := kindOf(mode); got != KindNetlink {
			t.Errorf("%v, by netlink: kind %d", mode, got)
		}
		if h, ok := findHolder(w.ifindex, w.attached(t).program); ok {
			t.Errorf("attached by netlink, held by %+v", h)
		}
		w.setXDP(t, -1, mode)
		// There is none any more: one that went in the middle of the question.
		if got := kindOf(mode); got == KindLink {
			t.Errorf("%v, nothing there: kind %d", mode, got)
		}
		if got := kindOf(Auto); got != KindUnknown {
			t.Errorf("in no mode: kind %d", got)
		}
	}
}

// BenchmarkVerdict is the program's own time for a frame, as BPF_PROG_TEST_RUN
// measures it.
func BenchmarkVerdict(b *testing.B) {
	x := newBench(b)
	x.withSocket(b)
	nothing := assembled(b, asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()}) // to compare with
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"listener", tcp4(port(peer4, 5), port(our4, 80))},
		{"flow", tcp4(port(peer4, 1000), port(our4, 2000))},
		{"flow6", tcp6(port(peer6, 1000), port(our6, 2000))},
		{"walk", ether(typeVLAN, tag(0, typeIPv4, tcp4(port(peer4, 5), port(our4, 80))[14:]))},
		{"unmatched", tcp4(port(peer4, 5), port(our4, 81))},
		{"arp", ether(typeARP, make([]byte, 46))},
	} {
		b.Run(c.name, func(b *testing.B) {
			_, each, err := x.prog.Benchmark(c.frame, b.N, nil)
			must(b, err)
			b.ReportMetric(float64(each.Nanoseconds()), "ns/frame")
			_, each, err = nothing.Benchmark(c.frame, b.N, nil)
			must(b, err)
			b.ReportMetric(float64(each.Nanoseconds()), "ns/nothing")
			b.ReportMetric(0, "ns/op")
		})
	}
}

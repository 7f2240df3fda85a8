//go:build linux

package steer

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// inModes runs a test in both modes.
func inModes(t *testing.T, test func(t *testing.T, mode Mode)) {
	needBPF(t)
	for _, mode := range []Mode{Native, Generic} {
		t.Run(mode.String(), func(t *testing.T) { test(t, mode) })
	}
}

// TestNSTraffic: what matches comes to the socket, and everything else on the same
// interface goes on as if there were no program: pings, TCP and UDP of the kernel.
func TestNSTraffic(t *testing.T) {
	inModes(t, func(t *testing.T, mode Mode) {
		w := newWire(t, 0)
		p := loaded(t, Options{})
		w.attach(t, p, mode)
		x := w.socket(t, p, 0)
		must(t,
			p.SetPrefixes(hosts("10.1.1.1", "fd01::1")),
			p.AddListener(UDP, netip.MustParseAddrPort("0.0.0.0:7000")),
			p.AddListener(UDP, netip.MustParseAddrPort("[::]:7000")),
			p.AddFlow(UDP, port(our4, 7001), port(peer4, 9000)),
		)
		from4, from6 := udp(t, w.peer, port(peer4, 9000)), udp(t, w.peer, port(peer6, 9000))
		other := udp(t, w.peer, port(peer4, 9001))
		kernel := udp(t, w.ours, port(our4, 7001))

		// Neighbors are resolved by the kernel, through the program.
		w.ping(t, our4)
		w.ping(t, our6)

		take := func(what string) {
			t.Helper()
			frame, err := x.receive(patience)
			if err != nil || !bytes.Contains(frame, []byte(what)) {
				t.Fatalf("the socket received %x, %v; want %q", frame, err, what)
			}
		}
		sendTo(t, from4, port(our4, 7000), []byte("to the listener"))
		take("to the listener")
		sendTo(t, from6, port(our6, 7000), []byte("by IPv6"))
		take("by IPv6")
		sendTo(t, from4, port(our4, 7001), []byte("of the flow"))
		take("of the flow")
		// The same port, but not the flow: the kernel's.
		sendTo(t, other, port(our4, 7001), []byte("of another flow"))
		if got := receiveFrom(t, kernel); string(got) != "of another flow" {
			t.Errorf("the kernel's socket received %q", got)
		}
		w.exchange(t, port(our4, 8000), 4<<20)
		w.exchange(t, port(our6, 8000), 4<<20)
		w.ping(t, our4)
		w.ping(t, our6)
		if x.pending() {
			t.Error("a frame of the kernel's came to the socket")
		}
		c := countersOf(t, p)
		if c[RedirectListener] != 2 || c[RedirectFlow] != 1 || c.Redirected() != 3 {
			t.Errorf("redirected: %v", c)
		}
		// Four pings, and at least four segments of each TCP connection: SYN, ACKs, FIN.
		if c[PassProtocol] < 4 || c[PassGroup] < 1 || c[PassUnmatched] < 8 || c.Passed() < c[PassProtocol]+c[PassUnmatched] {
			t.Errorf("passed: %v", c)
		}

		// Without its socket the queue's frames go to the kernel.
		must(t, p.ClearSocket(0))
		sendTo(t, from4, port(our4, 7001), []byte("without a socket"))
		if got := receiveFrom(t, kernel); string(got) != "without a socket" {
			t.Errorf("the kernel's socket received %q", got)
		}
		if c := countersOf(t, p); c[PassNoSocket] != 1 {
			t.Errorf("passed for want of a socket: %v", c)
		}
		must(t, p.SetSocket(0, x.fd))
		sendTo(t, from4, port(our4, 7001), []byte("with one again"))
		take("with one again")
		// A closed socket takes itself out.
		x.close()
		sendTo(t, from4, port(our4, 7001), []byte("closed"))
		if got := receiveFrom(t, kernel); string(got) != "closed" {
			t.Errorf("the kernel's socket received %q", got)
		}
	})
}

// TestNSError: the kernel's own ICMP errors about our packets come to the socket.
func TestNSError(t *testing.T) {
	inModes(t, func(t *testing.T, mode Mode) {
		w := newWire(t, 0)
		p := loaded(t, Options{})
		w.attach(t, p, mode)
		x := w.socket(t, p, 0)
		for _, c := range []struct{ local, remote netip.AddrPort }{
			{port(our4, 7000), port(peer4, 9)}, // nobody is there
			{port(our6, 7000), port(peer6, 9)},
		} {
			must(t, p.AddFlow(UDP, c.local, c.remote))
			ours := udp(t, w.ours, c.local)
			sendTo(t, ours, c.remote, []byte("is anybody there?"))
			frame, err := x.receive(patience)
			if err != nil || !bytes.Contains(frame, []byte("is anybody there?")) {
				t.Fatalf("the socket received %x, %v", frame, err)
			}
		}
		if c := countersOf(t, p); c[RedirectError] != 2 || c.Redirected() != 2 {
			t.Errorf("counters: %v", c)
		}
	})
}

// TestNSJumbo: frames of several buffers are steered whole; fragments of larger
// datagrams are left to the kernel, which reassembles them.
func TestNSJumbo(t *testing.T) {
	inModes(t, func(t *testing.T, mode Mode) {
		w := newWire(t, 9000)
		p := loaded(t, Options{})
		w.attach(t, p, mode)
		x := w.socket(t, p, 0)
		if !x.sg {
			testenv.SkipOrFail(t, "needs Linux 6.6, whose AF_XDP sockets take frames of several buffers")
		}
		must(t, p.AddListener(UDP, port(our4, 7000)), p.AddListener(UDP, port(our6, 7000)))
		random := rand.NewChaCha8([32]byte{1})
		payload := make([]byte, 9000-40-8)
		random.Read(payload)
		kernel4, kernel6 := udp(t, w.ours, port(our4, 7000)), udp(t, w.ours, port(our6, 7000))
		from4, from6 := udp(t, w.peer, port(peer4, 9000)), udp(t, w.peer, port(peer6, 9000))
		for range 10 {
			sendTo(t, from4, port(our4, 7000), payload)
			sendTo(t, from6, port(our6, 7000), payload)
			for range 2 {
				frame, err := x.receive(patience)
				if err != nil || !bytes.HasSuffix(frame, payload) {
					t.Fatalf("the socket received %d bytes, %v; want %d and headers", len(frame), err, len(payload))
				}
			}
		}
		large := make([]byte, 20000)
		random.Read(large)
		sendTo(t, from4, port(our4, 7000), large)
		sendTo(t, from6, port(our6, 7000), large)
		if !bytes.Equal(receiveFrom(t, kernel4), large) || !bytes.Equal(receiveFrom(t, kernel6), large) {
			t.Error("fragmented datagrams arrived changed")
		}
		if c := countersOf(t, p); c[RedirectListener] != 20 || c[PassFragment] != 6 {
			t.Errorf("counters: %v", c)
		}
	})
}

// TestNSQueues: a queue without a socket leaves its frames to the kernel while
// another one has one, and each queue has its own.
func TestNSQueues(t *testing.T) {
	needBPF(t)
	w := newWideWire(t, 2)
	p := loaded(t, Options{Queues: 2})
	w.attach(t, p, Native) // in generic mode veth does not tell of queues
	must(t, p.AddListener(UDP, port(our4, 7000)))
	kernel := udp(t, w.ours, port(our4, 7000))
	must(t, kernel.SetReadBuffer(1<<20))
	// The peer's kernel chooses a queue for each flow.
	const flows = 64
	var from []*net.UDPConn
	for range flows {
		from = append(from, udp(t, w.peer, port(peer4, 0)))
	}
	sendAll := func() {
		for _, c := range from {
			sendTo(t, c, port(our4, 7000), []byte("hello"))
		}
	}
	w.ping(t, our4) // resolves the neighbor: none of the datagrams waits for it
	first := w.socket(t, p, 0)
	sendAll()
	eventually(t, "all datagrams counted", func() bool {
		c := countersOf(t, p)
		return c[RedirectListener]+c[PassNoSocket] == flows
	})
	c := countersOf(t, p)
	if c[RedirectListener] == 0 || c[PassNoSocket] == 0 {
		t.Fatalf("only one queue was used: %v", c)
	}
	for range c[RedirectListener] {
		if _, err := first.receive(patience); err != nil {
			t.Fatal(err)
		}
	}
	for range c[PassNoSocket] {
		receiveFrom(t, kernel)
	}

	second := w.socket(t, p, 1)
	sendAll()
	for range c[RedirectListener] {
		if _, err := first.receive(patience); err != nil {
			t.Fatal(err)
		}
	}
	for range c[PassNoSocket] {
		if _, err := second.receive(patience); err != nil {
			t.Fatal(err)
		}
	}
	if first.pending() || second.pending() {
		t.Error("a frame came to both queues")
	}
}

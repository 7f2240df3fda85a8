//go:build linux

package steer

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// claimed is a claim until the test's end.
func claimed(t testing.TB, ns *netns.NS, proto Proto, local netip.AddrPort) *Port {
	t.Helper()
	return claimedBy(t, ns, Claim, proto, local)
}

// A claimer is Claim, of the package or of a program.
type claimer = func(Proto, netip.AddrPort) (*Port, error)

func claimedBy(t testing.TB, ns *netns.NS, claim claimer, proto Proto, local netip.AddrPort) *Port {
	t.Helper()
	var p *Port
	must(t, ns.Do(func() (err error) { p, err = claim(proto, local); return err }))
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestNSClaim: a claimed port is taken for everybody else, a taken port can't be
// claimed, and Close gives it back.
func TestNSClaim(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWire(t, 0)
	// listen and claim are the two ways to take a port; each gives it back by close.
	listen := func(proto Proto, a netip.AddrPort) (func() error, error) {
		if proto == UDP {
			c, err := net.ListenUDP(network("udp", a), net.UDPAddrFromAddrPort(a))
			if err != nil {
				return nil, err
			}
			return c.Close, nil
		}
		l, err := net.ListenTCP(network("tcp", a), net.TCPAddrFromAddrPort(a)) // with SO_REUSEADDR
		if err != nil {
			return nil, err
		}
		return l.Close, nil
	}
	claim := func(proto Proto, a netip.AddrPort) (func() error, error) {
		p, err := Claim(proto, a)
		if err != nil {
			return nil, err
		}
		return p.Close, nil
	}
	type taker = func(Proto, netip.AddrPort) (func() error, error)
	any4, any6 := netip.IPv4Unspecified(), netip.IPv6Unspecified()
	for _, c := range []struct {
		first, second netip.Addr
		conflict      bool
	}{
		{our4, our4, true},
		{any4, our4, true},
		{our4, any4, true},
		{any4, any4, true},
		{our6, our6, true},
		{any6, our6, true},
		{any4, any6, false},
		{our4, netip.MustParseAddr("127.0.0.1"), false},
	} {
		for _, proto := range []Proto{TCP, UDP} {
			for _, takers := range [][2]taker{{claim, claim}, {claim, listen}, {listen, claim}} {
				must(t, w.ours.Do(func() error {
					closeFirst, err := takers[0](proto, port(c.first, 7000))
					if err != nil {
						return err
					}
					closeSecond, err := takers[1](proto, port(c.second, 7000))
					if c.conflict != errors.Is(err, unix.EADDRINUSE) {
						t.Errorf("%v: first %v, then %v: %v", proto, c.first, c.second, err)
					}
					if err == nil {
						must(t, closeSecond())
					}
					must(t, closeFirst())
					closeSecond, err = takers[1](proto, port(c.second, 7000))
					if err != nil {
						return err // the first was closed
					}
					return closeSecond()
				}))
			}
		}
	}
}

// network is tcp4 or the like.
func network(proto string, a netip.AddrPort) string {
	if a.Addr().Is4() {
		return proto + "4"
	}
	return proto + "6"
}

// TestNSClaimEphemeral: port 0 is one that is free, and then is not.
func TestNSClaimEphemeral(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWire(t, 0)
	must(t, w.ours.SetSysctl("net/ipv4/ip_local_port_range", "40000 40003"))
	for _, proto := range []Proto{TCP, UDP} {
		seen := make(map[uint16]bool)
		for range 4 {
			p := claimed(t, w.ours, proto, port(our4, 0))
			if a := p.Addr(); a.Addr() != our4 || a.Port() < 40000 || a.Port() > 40003 || seen[a.Port()] || p.Proto() != proto {
				t.Errorf("claimed %v %v, after %v", p.Proto(), a, seen)
			}
			seen[p.Addr().Port()] = true
		}
		err := w.ours.Do(func() error { _, err := Claim(proto, port(our4, 0)); return err })
		if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "ip_local_port_range") {
			t.Errorf("the fifth of four %v ports: %v", proto, err)
		}
	}
}

// TestNSClaimTimeWait: a server's old connections in TIME_WAIT do not keep its port
// from being claimed.
func TestNSClaimTimeWait(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWire(t, 0)
	w.exchange(t, port(our4, 7000), 1000) // our side closes first
	err := w.ours.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: our4.As4(), Port: 7000})
	})
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("there is no connection in TIME_WAIT: bind: %v", err)
	}
	claimed(t, w.ours, TCP, port(our4, 7000))
}

// TestNSClaimErrors: what can't be claimed, and why.
func TestNSClaimErrors(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWire(t, 0)
	for _, c := range []struct {
		proto Proto
		local netip.AddrPort
		want  unix.Errno
		says  string
	}{
		{TCP, netip.AddrPort{}, unix.EINVAL, "not an address"},
		{TCP, netip.MustParseAddrPort("224.0.0.1:5"), unix.EINVAL, "not an address"},
		{Proto(1), port(our4, 5), unix.EPROTONOSUPPORT, "protocol 1"},
		{TCP, port(peer4, 5), unix.EADDRNOTAVAIL, "no interface has this address"},
		{UDP, port(peer6, 5), unix.EADDRNOTAVAIL, "no interface has this address"},
		{TCP, netip.MustParseAddrPort("[fe80::1%nowhere]:5"), unix.ENODEV, "nowhere"},
	} {
		err := w.ours.Do(func() error { _, err := Claim(c.proto, c.local); return err })
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v %v: %v, want %v that says %q", c.proto, c.local, err, c.want, c.says)
		}
	}
	p := claimed(t, w.ours, TCP, port(our4, 7000))
	must(t, p.Close(), p.Close())
	mapped := claimed(t, w.ours, TCP, netip.MustParseAddrPort("[::ffff:10.1.1.1]:7000"))
	if mapped.Addr() != port(our4, 7000) {
		t.Errorf("claimed %v", mapped.Addr())
	}
}

// TestNSClaimZone: a link-local address, by the name and the number of its zone.
func TestNSClaimZone(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWire(t, 0)
	must(t, w.ours.ConfigureLink("veth0", []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}, 0))
	claimed(t, w.ours, TCP, netip.MustParseAddrPort("[fe80::1%veth0]:7000"))
	claimed(t, w.ours, UDP, netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(itoa(w.ifindex)), 7000))
}

// TestNSClaimSilent: the kernel does not answer on a claimed port, though nothing is
// steered. Were the port only bound, it would.
func TestNSClaimSilent(t *testing.T) {
	testenv.NeedRoot(t)
	t.Run("without a program", func(t *testing.T) { claimSilent(t, Claim) })
	t.Run("by a program", func(t *testing.T) {
		needBPF(t)
		claimSilent(t, loaded(t, Options{}).Claim)
	})
}

func claimSilent(t *testing.T, claim claimer) {
	w := newWire(t, 0)
	for _, a := range []netip.Addr{our4, our6} {
		// What a port says that nobody has, or that is bound and not listened on.
		refused := w.startConnect(t, port(a, 7001))
		eventually(t, "refused, nobody there", func() bool { return connectError(t, refused) == unix.ECONNREFUSED })
		bound := -1
		must(t, w.ours.Do(func() error {
			sa, family, err := sockaddr(port(a, 7001))
			if err != nil {
				return err
			}
			if bound, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
				return err
			}
			return unix.Bind(bound, sa)
		}))
		defer unix.Close(bound)
		refused = w.startConnect(t, port(a, 7001))
		eventually(t, "refused, port only bound", func() bool { return connectError(t, refused) == unix.ECONNREFUSED })

		claimedBy(t, w.ours, claim, TCP, port(a, 7000))
		claimedBy(t, w.ours, claim, UDP, port(a, 7000))
		silent := w.startConnect(t, port(a, 7000))
		datagrams := udp(t, w.peer, netip.AddrPort{})
		connected := connectedUDP(t, w.peer, port(a, 7000))
		sendTo(t, datagrams, port(a, 7000), []byte("hello"))
		if _, err := connected.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		// The kernel answers in the order in which it was asked, if it answers: when the
		// ping is back, so is everything else.
		w.ping(t, a)
		if err := connectError(t, silent); err != unix.EINPROGRESS {
			t.Errorf("the connect to a claimed port of %v: %v", a, err)
		}
		must(t, connected.SetReadDeadline(time.Now()))
		if _, err := connected.Read(make([]byte, 1)); errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a datagram to a claimed port of %v: %v", a, err)
		}
		// And control: without a claim the datagram is answered.
		other := connectedUDP(t, w.peer, port(a, 7002))
		if _, err := other.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		must(t, other.SetReadDeadline(time.Now().Add(patience)))
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a datagram to a free port of %v: %v", a, err)
		}
	}
}

// connectedUDP is a kernel UDP socket that gets errors.
func connectedUDP(t testing.TB, ns *netns.NS, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() (err error) { c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)); return err }))
	t.Cleanup(func() { c.Close() })
	return c
}

// TestNSClaimSteered: what is steered is not answered by the kernel either.
func TestNSClaimSteered(t *testing.T) {
	inModes(t, func(t *testing.T, mode Mode) {
		w := newWire(t, 0)
		p := loaded(t, Options{})
		claimed(t, w.ours, TCP, port(our4, 7000))
		w.attach(t, p, mode)
		x := w.socket(t, p, 0)
		must(t, p.AddListener(TCP, port(our4, 7000)))
		fd := w.startConnect(t, port(our4, 7000))
		frame, err := x.receive(patience)
		const synFlag = 2
		if err != nil || len(frame) < 54 || frame[47]&0x3f != synFlag {
			t.Fatalf("received %x, %v; want a SYN", frame, err)
		}
		w.ping(t, our4)
		if err := connectError(t, fd); err != unix.EINPROGRESS {
			t.Errorf("the connect that is steered: %v", err)
		}
	})
}

// TestNSClaimGone: the claim ends with the process that had it.
func TestNSClaimGone(t *testing.T) {
	testenv.NeedRoot(t)
	w := newWire(t, 0)
	cmd := role("claim")
	out := startRole(t, w.ours, cmd)
	if line := out(); line != "claimed" {
		t.Fatalf("the process says %q", line)
	}
	again := func() error {
		return w.ours.Do(func() error {
			p, err := Claim(TCP, port(our4, 7000))
			if err != nil {
				return err
			}
			return p.Close()
		})
	}
	if err := again(); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "ss -antp sport = :7000") {
		t.Errorf("claimed by another process: %v", err)
	}
	must(t, cmd.Process.Kill())
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Errorf("killed: %v", err)
	}
	must(t, again())
}

// roleClaim claims a port and waits to be killed.
func roleClaim() error {
	if _, err := Claim(TCP, port(our4, 7000)); err != nil {
		return err
	}
	return waitAfter("claimed")
}

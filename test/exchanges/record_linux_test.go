package exchanges

import (
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

var update = flag.Bool("update", false, "write the recordings anew")

func TestMain(m *testing.M) { testenv.Main(m) }

// patience is how long anything may take; it is reached by failures only.
const patience = 30 * time.Second

// A recorder is the wire between two kernels: it passes on what each sends, but for what lose
// says, and keeps all of it.
type recorder struct {
	t    *testing.T
	ends [2]*netns.NS // ours, theirs
	taps [2]*os.File

	mu     sync.Mutex
	frames [][]byte
	lose   func(n int, frame []byte) bool // the nth frame of this exchange
}

// tap makes an Ethernet device in ns that ends in the file.
func tap(t *testing.T, ns *netns.NS, name string, mtu int, addrs ...string) *os.File {
	t.Helper()
	fd := -1
	err := ns.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	})
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), name)
	var p []netip.Prefix
	for _, a := range addrs {
		p = append(p, netip.MustParsePrefix(a))
	}
	if err := ns.ConfigureLink(name, p, mtu); err != nil {
		t.Fatal(err)
	}
	return f
}

func newRecorder(t *testing.T) *recorder {
	testenv.NeedRoot(t)
	testenv.NeedTUN(t)
	r := &recorder{t: t}
	var relays sync.WaitGroup
	t.Cleanup(relays.Wait)
	for i := range r.ends {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		r.ends[i] = ns
		r.taps[i] = tap(t, ns, "tap0", 1500, [][2]string{Ours, Theirs}[i][0]+"/24", [][2]string{Ours, Theirs}[i][1]+"/64")
		t.Cleanup(func() { r.taps[i].Close() })
	}
	for i := range r.taps {
		relays.Go(func() { r.relay(i) })
	}
	return r
}

// relay passes on what end i sends.
func (r *recorder) relay(i int) {
	b := make([]byte, 1<<16)
	for {
		n, err := r.taps[i].Read(b)
		if err != nil {
			return // closed
		}
		r.mu.Lock()
		lost := r.lose != nil && r.lose(len(r.frames), b[:n])
		r.frames = append(r.frames, append([]byte(nil), b[:n]...))
		r.mu.Unlock()
		if !lost {
			_, _ = r.taps[1-i].Write(b[:n]) // a full queue loses it, as wires do
		}
	}
}

// record writes what was sent since the last call.
func (r *recorder) record(dir, name string) {
	r.t.Helper()
	time.Sleep(50 * time.Millisecond) // for the last ACKs, which nobody waits for
	r.mu.Lock()
	frames := r.frames
	r.frames, r.lose = nil, nil
	r.mu.Unlock()
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 1<<16)
	b = binary.LittleEndian.AppendUint32(b, 1) // LINKTYPE_ETHERNET
	for i, f := range frames {
		for _, v := range []int{i / 1000, i % 1000 * 1000, len(f), len(f)} { // a frame a millisecond
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		}
		b = append(b, f...)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pcap"), b, 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.t.Logf("%s: %d frames, %d bytes", name, len(frames), len(b))
}

// in runs f in the namespace of an end.
func (r *recorder) in(end int, f func() error) {
	r.t.Helper()
	if err := r.ends[end].Do(f); err != nil {
		r.t.Fatal(err)
	}
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// listen listens at our port 80. family is 0 for IPv4 and 1 for IPv6, here and below, as the
// indices of Ours and Theirs.
func (r *recorder) listen(family int) net.Listener {
	r.t.Helper()
	var l net.Listener
	r.in(0, func() (err error) {
		l, err = net.Listen("tcp", hostPort(Ours[family], 80))
		return err
	})
	r.t.Cleanup(func() { l.Close() })
	return l
}

// connect connects from them to us.
func (r *recorder) connect(family, port int, l net.Listener) (theirs, ours *net.TCPConn) {
	r.t.Helper()
	r.in(1, func() error {
		d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(Theirs[family]), Port: port}}
		c, err := d.Dial("tcp", hostPort(Ours[family], 80))
		if err == nil {
			theirs = c.(*net.TCPConn)
		}
		return err
	})
	c, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	ours = c.(*net.TCPConn)
	for _, c := range []*net.TCPConn{theirs, ours} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			r.t.Fatal(err)
		}
	}
	return theirs, ours
}

// transfer sends n bytes from one to the other, half closes, and the other way round.
func (r *recorder) transfer(a, b net.Conn, n, back int) {
	r.t.Helper()
	errs := make(chan error, 2)
	one := func(c net.Conn, n, want int) {
		_, err := c.Write(make([]byte, n))
		err = errors.Join(err, c.(*net.TCPConn).CloseWrite())
		got, e := io.Copy(io.Discard, c)
		if err = errors.Join(err, e); err == nil && got != int64(want) {
			err = io.ErrUnexpectedEOF
		}
		errs <- errors.Join(err, c.Close())
	}
	go one(a, n, back)
	go one(b, back, n)
	if err := errors.Join(<-errs, <-errs); err != nil {
		r.t.Fatal(err)
	}
}

// raw calls f with the descriptor of c.
func (r *recorder) raw(c syscall.Conn, f func(fd int) error) {
	r.t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		r.t.Fatal(err)
	}
	var inner error
	if err := errors.Join(rc.Control(func(fd uintptr) { inner = f(int(fd)) }), inner); err != nil {
		r.t.Fatal(err)
	}
}

// TestNSRecord records all exchanges, and checks that they have what they are recorded for.
func TestNSRecord(t *testing.T) {
	dir := t.TempDir()
	r := newRecorder(t)
	listeners := [2]net.Listener{r.listen(0), r.listen(1)}

	// A handshake with ARP before it, a request, an answer, both ends closed.
	theirs, ours := r.connect(0, 999, listeners[0])
	r.transfer(theirs, ours, 100, 5000)
	r.record(dir, "tcp4")

	// With ECN, and losses in both directions, so that there are SACKs, repeated segments,
	// duplicate SACKs and ACKs with nothing new.
	for _, ns := range r.ends {
		if err := ns.SetSysctl("net/ipv4/tcp_ecn", "1"); err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	r.lose = func(n int, frame []byte) bool { return n > 8 && n%7 == 0 || len(frame) > 500 && n%5 == 0 && n < 40 }
	r.mu.Unlock()
	theirs, ours = r.connect(1, 0, listeners[1])
	r.transfer(theirs, ours, 20_000, 6_000)
	r.record(dir, "tcp6-lossy")

	// Resets: of a connection with data unread, and of a port where nobody listens.
	for family := range listeners {
		theirs, ours = r.connect(family, 0, listeners[family])
		if _, err := theirs.Write(make([]byte, 300)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(ours, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(ours.SetLinger(0), ours.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("instead of a reset: %v", err)
		}
		theirs.Close()
		r.in(1, func() error {
			if _, err := net.Dial("tcp", hostPort(Ours[family], 81)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("where nobody listens: %v", err)
			}
			return nil
		})
	}
	r.record(dir, "resets")

	for family, name := range []string{"udp4", "udp6"} {
		r.datagrams(family)
		r.record(dir, name)
	}
	r.tooBig()
	r.record(dir, "too-big")

	check(t, dir)
	if *update {
		for _, name := range must(filepath.Glob(filepath.Join(dir, "*.pcap"))) {
			b := must(os.ReadFile(name))
			if err := os.WriteFile(filepath.Join("testdata", filepath.Base(name)), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// datagrams has them send to us: whole, empty, in fragments, with options and extension
// headers, and to a port where nobody is; and a ping.
func (r *recorder) datagrams(family int) {
	t := r.t
	var ours *net.UDPConn
	r.in(0, func() error {
		a, err := net.ResolveUDPAddr("udp", hostPort(Ours[family], 53))
		if err == nil {
			ours, err = net.ListenUDP("udp", a)
		}
		return err
	})
	defer ours.Close()
	if err := ours.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	send := func(port, n int, options func(fd int) error) *net.UDPConn {
		var c *net.UDPConn
		r.in(1, func() error {
			d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(Theirs[family]), Port: 999}}
			u, err := d.Dial("udp", hostPort(Ours[family], port))
			if err == nil {
				c = u.(*net.UDPConn)
				err = c.SetDeadline(time.Now().Add(patience))
			}
			return err
		})
		if options != nil {
			r.raw(c, options)
		}
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	b := make([]byte, 1<<16)
	echo := func(n int, options func(fd int) error) {
		c := send(53, n, options)
		defer c.Close()
		k, from, err := ours.ReadFrom(b)
		if err != nil || k != n {
			t.Fatalf("%d bytes of %d: %v", k, n, err)
		}
		if _, err := ours.WriteTo(b[:n], from); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{20, 0, 1400, 3000} {
		echo(n, nil)
	}
	if family == 0 {
		// Record route with room for two (RFC 791 section 3.1).
		echo(30, func(fd int) error {
			return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, "\x07\x0b\x04"+string(make([]byte, 9)))
		})
	} else {
		// Hop-by-hop and destination options, each a padding of 4 (RFC 8200 section 4.2).
		pad := "\x00\x00\x01\x04\x00\x00\x00\x00"
		hop := func(fd int) error { return unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS, pad) }
		dst := func(fd int) error { return unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS, pad) }
		echo(30, hop)
		echo(30, dst)
		both := func(fd int) error { return errors.Join(hop(fd), dst(fd)) }
		echo(30, both)
		echo(2000, both)
		r.in(1, func() error { // a listener report, behind a router alert (RFC 3810)
			i, err := net.InterfaceByName("tap0")
			if err != nil {
				return err
			}
			g, err := net.ListenMulticastUDP("udp6", i, &net.UDPAddr{IP: net.ParseIP("ff05::1234"), Port: 5})
			if err != nil {
				return err
			}
			return g.Close()
		})
	}
	c := send(54, 40, nil)
	if _, err := c.Read(b); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("where nobody is: %v", err)
	}
	c.Close()
	r.ping(family)
}

// ping has them ping us.
func (r *recorder) ping(family int) {
	network, request := "ip4:icmp", []byte{8, 0, 0, 0, 0, 7, 0, 1, 'h', 'i'}
	if family == 1 {
		network, request[0] = "ip6:ipv6-icmp", 128
	} else {
		binary.BigEndian.PutUint16(request[2:], ^uint16(0x0800+7+1+'h'<<8+'i'))
	}
	r.in(1, func() error {
		c, err := net.Dial(network, Ours[family])
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := c.Write(request); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 100))
		return err
	})
}

// tooBig has us send through them to where a packet of ours does not fit, and them say so.
func (r *recorder) tooBig() {
	t := r.t
	far := tap(t, r.ends[1], "tap1", 1300, "203.0.113.1/24", "2001:db8:1::1/64")
	defer far.Close()
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := r.ends[1].SetSysctl(name, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for family, dst := range []string{"203.0.113.0/24", "2001:db8:1::/64"} {
		p := netip.MustParsePrefix(dst)
		if err := r.ends[0].AddRoute(p, netip.MustParseAddr(Theirs[family]), "tap0"); err != nil {
			t.Fatal(err)
		}
		r.in(0, func() error {
			c, err := net.Dial("udp", netip.AddrPortFrom(p.Addr().Next().Next(), 7).String())
			if err != nil {
				return err
			}
			defer c.Close()
			r.raw(c.(*net.UDPConn), func(fd int) error {
				if family == 1 {
					return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
				}
				return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
			})
			for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
				if _, err := c.Write(make([]byte, 1400)); errors.Is(err, syscall.EMSGSIZE) {
					return nil // it is known now
				}
				if time.Now().After(end) {
					return errors.New("a path is not known to be too narrow")
				}
			}
		})
	}
}

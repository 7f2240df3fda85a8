package zctap_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
)

// TestNSFlood: a transfer from the kernel over TUN while somebody sends SYNs from addresses
// that do not exist, two for each super-segment of the transfer. What both take of CPU,
// without the attacker's own, is at most twice what the transfer takes alone. Both are fixed in
// amount and measured in turn; the medians count.
func TestNSFlood(t *testing.T) {
	const rounds, syns, size = 7, 2500, 64 << 20
	ns := newNS(t)
	q, _ := openTUN(ns, tunOurs4.Addr(), tunHost4.Addr())(t, zctap.Config{})
	defer closeWhole(t, q)
	l, err := q.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := &flooder{ns: ns, rand: rand.New(rand.NewPCG(1, 2)), to: netip.AddrPortFrom(tunOurs4.Addr(), 80)}

	var ratios []float64
	for i := range rounds + 1 {
		alone, quick := bulk(t, ns, l, f, size, 0)
		beside, slow := bulk(t, ns, l, f, size, syns)
		t.Logf("CPU alone %v, beside the flood %v: %.2f; time %v and %v", alone, beside, float64(beside)/float64(alone), quick, slow)
		if i > 0 { // the first is to warm up
			ratios = append(ratios, float64(beside)/float64(alone))
		}
	}
	slices.Sort(ratios)
	events := q.Stats().Events
	cookies := events["syn-cookies-sent"]
	t.Logf("%.2f times the CPU with %d SYNs for %d bytes; %d of %d SYNs were answered with cookies", ratios[rounds/2], syns, size, cookies, (rounds+1)*syns)
	if ratios[rounds/2] > 2 {
		t.Errorf("beside %d SYNs %d bytes take %.2f times the CPU, want twice at most", syns, size, ratios[rounds/2])
	}
	if cookies < rounds*syns/4 { // a busy machine drops some before the device
		t.Errorf("only %d of %d SYNs were answered with cookies", cookies, (rounds+1)*syns)
	}
}

// bulk has the kernel send size bytes to l, and f so many SYNs meanwhile. It returns the
// CPU time of this process, without f's, and how long it took.
func bulk(t *testing.T, ns *netns.NS, l net.Listener, f *flooder, size int64, syns int) (used, took time.Duration) {
	t.Helper()
	var c net.Conn
	if err := ns.Do(func() (err error) {
		c, err = net.Dial("tcp", f.to.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	z, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	start, before := time.Now(), clockTime(t, unix.CLOCK_PROCESS_CPUTIME_ID)
	sent, flooded := make(chan error, 1), make(chan error, 1)
	var attacker time.Duration
	go func() {
		p := make([]byte, 1<<20)
		for left := size; left > 0; left -= int64(len(p)) {
			if _, err := c.Write(p); err != nil {
				sent <- err
				return
			}
		}
		sent <- c.Close()
	}()
	go func() {
		var err error
		attacker, err = f.send(t, syns)
		flooded <- err
	}()
	n, err := io.Copy(io.Discard, z)
	took = time.Since(start)
	if err := errors.Join(err, <-sent, <-flooded); err != nil || n != size {
		t.Fatalf("%d bytes of %d: %v", n, size, err)
	}
	return clockTime(t, unix.CLOCK_PROCESS_CPUTIME_ID) - before - attacker, took
}

func clockTime(t *testing.T, clock int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		t.Error(err)
	}
	return time.Duration(ts.Nano())
}

// A flooder sends SYNs to an address, from anywhere.
type flooder struct {
	ns   *netns.NS
	rand *rand.Rand
	to   netip.AddrPort
}

// send sends n SYNs, and returns the CPU time that it took.
func (f *flooder) send(t *testing.T, n int) (used time.Duration, err error) {
	err = f.ns.Do(func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before := clockTime(t, unix.CLOCK_THREAD_CPUTIME_ID)
		defer func() { used = clockTime(t, unix.CLOCK_THREAD_CPUTIME_ID) - before }()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for i := range n {
			if i%50 == 49 {
				time.Sleep(100 * time.Microsecond) // or the device's queue drops most of them
			}
			if err := unix.Sendto(fd, f.syn(), 0, &unix.SockaddrInet4{Addr: f.to.Addr().As4()}); err != nil && err != unix.ENOBUFS {
				return err
			}
		}
		return nil
	})
	return used, err
}

// syn is a SYN of a stranger's, with the options that a client has. The kernel fills in the
// IP header's checksum.
func (f *flooder) syn() []byte {
	const ip, tcp = 20, 40
	p := make([]byte, ip+tcp)
	p[0], p[3], p[8], p[9] = 0x45, ip+tcp, 64, unix.IPPROTO_TCP
	copy(p[12:], []byte{198, 18, byte(f.rand.Uint32()), 1 + byte(f.rand.IntN(254))})
	to := f.to.Addr().As4()
	copy(p[16:], to[:])
	h := p[ip:]
	binary.BigEndian.PutUint16(h, 1024+uint16(f.rand.IntN(60000)))
	binary.BigEndian.PutUint16(h[2:], f.to.Port())
	binary.BigEndian.PutUint32(h[4:], f.rand.Uint32())
	h[12], h[13] = tcp/4<<4, 2 // SYN
	binary.BigEndian.PutUint16(h[14:], 65535)
	copy(h[20:], "\x02\x04\x05\xb4\x04\x02\x08\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x01\x03\x03\x07")
	// RFC 9293 section 3.1: the sum of pseudo header and segment.
	sum := uint32(unix.IPPROTO_TCP + tcp)
	for i := 12; i < len(p); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(h[16:], ^uint16(sum>>16+sum))
	return p
}

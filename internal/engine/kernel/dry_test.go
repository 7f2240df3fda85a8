//go:build linux

package kernel

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
)

// A dryLoop is a loop that does not run and has few free buffers: less than the largest
// message that the kernel makes of several datagrams needs.
type dryLoop struct {
	*world
	l     *loop
	taken []uint16 // all other buffers
}

func newDryLoop(t *testing.T, free int) *dryLoop {
	t.Helper()
	l := idleLoop(t, 128, 4)
	d := &dryLoop{world: &world{T: t, pool: l.pool}, l: l, taken: make([]uint16, 128-free)}
	if n := l.pool.Alloc(d.taken); n != len(d.taken) || !l.merges() || free*l.pool.Region().BufferSize() >= maxDatagram {
		t.Fatalf("took %d buffers of %d, merges %v", n, len(d.taken), l.merges())
	}
	t.Cleanup(func() {
		d.wet()
		l.putStock()
		if n := l.pool.Free(); n != 128 {
			t.Errorf("%d buffers are free at the end, want 128", n)
		}
	})
	return d
}

// wet gives the loop all buffers.
func (d *dryLoop) wet() {
	for _, b := range d.taken {
		d.pool.Put(b)
	}
	d.taken = nil
}

// packet is a socket of the loop.
func (d *dryLoop) packet(remote netip.AddrPort) *packetConn {
	d.Helper()
	sock, err := ksock.Packet("udp", netip.AddrPortFrom(loopback4, 0), remote, true)
	d.ok(err)
	p := &packetConn{queue: sockq.NewDatagrams(d.pool), merges: true}
	p.init(d.l, sock)
	p.packet = p
	d.l.table.add(&p.socket)
	d.Cleanup(func() {
		p.queue.Close()
		d.l.detached(&p.socket)
		d.ok(sock.Close())
	})
	return p
}

// await waits until the kernel has something for p: over loopback that takes longer than
// the send where the CPU's softirq thread runs.
func (d *dryLoop) await(p *packetConn, events int16) {
	d.Helper()
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: events}}
	for end := time.Now().Add(patience); fds[0].Revents&events == 0; {
		if time.Now().After(end) {
			d.Fatalf("waited in vain for events %#x", events)
		}
		if _, err := unix.Poll(fds, 1000); err != unix.EINTR {
			d.ok(err)
		}
	}
}

// turn has p received from once.
func (d *dryLoop) turn(p *packetConn, want turn) {
	d.Helper()
	if got := d.l.readDatagrams(&p.socket); got != want || p.paused != (want == held) {
		d.Fatalf("turn %d, paused %v, want %d", got, p.paused, want)
	}
	p.queue.Publish()
}

// all takes b from p, in datagrams of size bytes, and gives the buffers back.
func (d *dryLoop) all(p *packetConn, b []byte, size int) {
	d.Helper()
	if n := p.queue.Len(); n != len(b)/size {
		d.Fatalf("%d datagrams wait, want %d", n, len(b)/size)
	}
	for ; len(b) > 0; b = b[size:] {
		if m, got := d.one(p); m.Truncated || !bytes.Equal(got, b[:size]) {
			d.Fatalf("%d bytes before the end: %+v", len(b), m)
		}
	}
}

// A message of several datagrams that comes just when the loop, nearly without buffers,
// has found that nothing waits is not received into the few: it waits for more, whole.
func TestDatagramsMergedLate(t *testing.T) {
	d := newDryLoop(t, 8)
	p, u := d.udpPeer(loopback4), d.packet(netip.AddrPort{})
	message, looks := at(0, 60000), 0
	d.l.packets.nextLen = func(s *ksock.Socket) (int, error) {
		n, err := s.NextLen()
		if looks++; looks == 1 {
			if !ksock.IsWouldBlock(err) {
				t.Errorf("%d bytes wait before anything was sent, %v", n, err)
			}
			d.sendSegments(p, message, 1000, u.LocalAddr())
		}
		return n, err
	}
	d.turn(u, drained) // the backend will tell of what has come
	d.await(u, unix.POLLIN)
	d.turn(u, held)
	d.wet()
	u.paused = false
	d.turn(u, drained)
	d.all(u, message, 1000)
	if looks != 2 || d.l.stats.truncated.Load() != 0 || d.l.stats.lostSegments.Load() != 0 {
		t.Errorf("%d looks, %d datagrams cut, %d lost", looks, d.l.stats.truncated.Load(), d.l.stats.lostSegments.Load())
	}
}

// What an ICMP message said is told to the application also if the loop, nearly without
// buffers, learns it by the look for the next datagram's length; and what waits behind it
// is looked at then.
func TestDatagramsMergedError(t *testing.T) {
	d := newDryLoop(t, 8)
	p := d.udpPeer(loopback4)
	u := d.packet(addrOf(p))
	d.ok(p.Close())
	_, err := u.WriteTo([]byte("x"), netip.AddrPort{})
	d.ok(err)
	d.await(u, unix.POLLERR)
	p, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(u.RemoteAddr()))
	d.ok(err)
	defer p.Close()
	message := at(0, 60000)
	d.sendSegments(p, message, 1000, u.LocalAddr())
	d.await(u, unix.POLLIN)
	d.turn(u, again)
	if _, _, err := u.queue.Recv(make([]buf.Iov, 1), make([]sockq.Message, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Recv: %v, want ECONNREFUSED", err)
	}
	if n := d.l.stats.socketErrors.Load(); n != 1 {
		t.Errorf("%d errors counted, want 1", n)
	}
	d.turn(u, held)
	d.wet()
	u.paused = false
	d.turn(u, drained)
	d.all(u, message, 1000)
}

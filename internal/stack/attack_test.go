package stack

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/stack/tcp"
	"github.com/zctap/zctap/internal/testenv"
	"github.com/zctap/zctap/internal/wire"
)

// full is how many packets a flood has: what is asked for, which takes seconds, but for the
// race detector, under which one goroutine shows nothing new by more.
func full(n, short int) int {
	if testenv.Race {
		return short
	}
	return n
}

// A flood makes segments to one of our ports with sources of anybody. They have IPv6
// headers, which have no checksum, and vouched payload.
type flood struct {
	r      *rig
	rand   *rand.Rand
	batch  driver.Batch
	heads  []byte
	packet []byte
}

const floodBatch = 256

var floodSYN = wire.TCP{Flags: wire.SYN, Window: 65535, Options: wire.TCPOptions{MSS: 1440, HasTimestamps: true, SACKPermitted: true, HasWindowScale: true}}

func newFlood(r *rig, h wire.TCP) *flood {
	h.SrcPort, h.DstPort = 1, ourPort
	p := tcpPacket(r.t, peer6, us6.Addr(), h, nil)
	return &flood{
		r: r, rand: rand.New(rand.NewPCG(1, 2)), packet: p,
		batch: driver.Batch{Frames: make([]driver.Frame, floodBatch)}, heads: make([]byte, floodBatch*len(p)),
	}
}

// fill makes a batch of packets that change makes of the first: it is given the IPv6
// and the TCP header.
func (f *flood) fill(change func(ip, tcp []byte)) {
	n := len(f.packet)
	for i := range f.batch.Frames {
		b := f.heads[i*n : (i+1)*n : (i+1)*n]
		copy(b, f.packet)
		change(b[:40], b[40:])
		f.batch.Frames[i] = driver.Frame{Head: b, Len: n, Checksum: driver.Vouched}
	}
}

// send delivers a batch. A microsecond passes for each packet.
func (f *flood) send(change func(ip, tcp []byte)) {
	f.fill(change)
	r := f.r
	r.now = r.now.Add(floodBatch * time.Microsecond)
	r.stack.Deliver(r.now, &f.batch)
	r.stack.Advance(r.now)
	if err := r.stack.Flush(r.now); err != nil {
		r.t.Fatal(err)
	}
}

// guess is spoof with a random acknowledgment.
func (f *flood) guess(ip, tcp []byte) {
	f.spoof(ip, tcp)
	binary.BigEndian.PutUint32(tcp[8:], f.rand.Uint32())
}

// spoof gives the packet a random source, which is a host's, port and number.
func (f *flood) spoof(ip, tcp []byte) {
	binary.BigEndian.PutUint64(ip[8:], 0x2001_0db8_0000_0000|uint64(f.rand.Uint32()))
	binary.BigEndian.PutUint64(ip[16:], f.rand.Uint64())
	binary.BigEndian.PutUint16(tcp, uint16(1+f.rand.IntN(1<<16-1)))
	binary.BigEndian.PutUint32(tcp[4:], f.rand.Uint32())
}

// TestSynFlood: a million SYNs of sources that do not exist leave no more behind than
// a listener's bound of half-open connections, and meanwhile whoever does exist connects
// at the first try.
func TestSynFlood(t *testing.T) {
	r := newRig(t)
	r.wire.quiet = true
	var accepted []*tcp.Conn
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(netip.Addr{}, ourPort), func() bool { return false },
		func(c *tcp.Conn) { accepted = append(accepted, c) })
	if err != nil {
		t.Fatal(err)
	}
	f := newFlood(r, floodSYN)
	before := testenv.HeapInUse()
	const clients = 100
	batches := full(1_000_000, 200_000) / floodBatch
	for i := range batches {
		f.send(f.spoof)
		if (i+1)%(batches/clients) == 0 && len(accepted) < clients {
			r.client(uint16(1000+i), len(accepted)+1, &accepted)
		}
	}
	grown := testenv.HeapInUse() - before
	st := r.stack.Stats()
	t.Logf("%d SYNs: %d bytes on the heap, %d connections, %d cookies sent, %d accepted",
		batches*floodBatch, grown, st.Conns, st.TCP.CookiesSent, st.TCP.CookiesAccepted)
	const pending = 1024 // of a listener, before there are cookies
	if st.Conns > pending+clients || l.Pending() != pending {
		t.Errorf("%d connections, %d pending", st.Conns, l.Pending())
	}
	if grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if len(accepted) != clients || st.TCP.CookiesAccepted < clients-1 {
		t.Errorf("%d clients accepted, %d cookies", len(accepted), st.TCP.CookiesAccepted)
	}
	// When it is over all of it is forgotten, but for those who exist.
	r.run(5 * time.Minute)
	if n := r.stack.Stats().Conns; n != clients || l.Pending() != 0 {
		t.Errorf("after the flood: %d connections, %d pending", n, l.Pending())
	}
	l.Close()
	r.endAll(accepted)
}

// client has somebody who exists connect with so many accepted, and send 10 bytes.
func (r *rig) client(port uint16, want int, accepted *[]*tcp.Conn) {
	r.t.Helper()
	h := wire.TCP{SrcPort: port, DstPort: ourPort, Seq: 1000, Flags: wire.SYN, Window: 65535, Options: wire.TCPOptions{MSS: 1440}}
	r.wire.quiet = false
	out := r.deliver(tcpPacket(r.t, peer6, us6.Addr(), h, nil), whole)
	if len(out) != 1 {
		r.t.Fatalf("a client's SYN drew %d frames", len(out))
	}
	answer := parse(r.t, out[0]).tcp
	h.Flags, h.Seq, h.Ack, h.Options = wire.ACK, 1001, answer.Seq.Add(1), wire.TCPOptions{}
	r.deliver(tcpPacket(r.t, peer6, us6.Addr(), h, pattern(1, 10)), whole)
	r.wire.quiet = true
	if len(*accepted) != want {
		r.t.Fatalf("%d clients accepted, want %d", len(*accepted), want)
	}
	if b, _, err := r.take((*accepted)[want-1]); len(b) != 10 || err != nil {
		r.t.Fatalf("%d bytes of a client, %v", len(b), err)
	}
}

// run lets time pass, from timer to timer.
func (r *rig) run(d time.Duration) {
	r.t.Helper()
	end := r.now.Add(d)
	for {
		next := r.stack.Next()
		if next == 0 || end.Before(next) {
			r.now = end
			return
		}
		r.now = max(r.now, next)
		r.stack.Advance(r.now)
		if err := r.stack.Flush(r.now); err != nil {
			r.t.Fatal(err)
		}
	}
}

// endAll resets all connections, and requires that nothing is left.
func (r *rig) endAll(conns []*tcp.Conn) {
	r.t.Helper()
	for _, c := range conns {
		c.Recv.Close()
		c.Recv.Drain()
		c.Abort(r.now)
	}
	r.deliverFrame()
	if n := r.stack.Stats().Conns; n != 0 {
		r.t.Errorf("%d connections left", n)
	}
	r.wantFree()
}

// TestCookieGuessing: ACKs that guess at cookies make no connection, and draw no more
// answers than strangers may.
func TestCookieGuessing(t *testing.T) {
	r := newRig(t, func(c *Config, _ *driver.Caps) { c.MaxPending = -1 })
	r.wire.quiet = true
	var accepted []*tcp.Conn
	l, err := r.stack.Listen("tcp", netip.AddrPortFrom(netip.Addr{}, ourPort), func() bool { return false },
		func(c *tcp.Conn) { accepted = append(accepted, c) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r.client(999, 1, &accepted) // cookies are in use
	before := r.stack.Stats().TCP.ResetsSent
	f := newFlood(r, wire.TCP{Flags: wire.ACK, Window: 65535})
	start := r.now
	n := full(1_000_000, 100_000)
	for range n / floodBatch {
		f.send(f.guess)
	}
	st := r.stack.Stats()
	if len(accepted) != 1 || st.Conns != 1 || st.TCP.CookiesRefused < uint64(n/floodBatch*floodBatch) {
		t.Errorf("%d accepted, %d connections, %d refused", len(accepted), st.Conns, st.TCP.CookiesRefused)
	}
	if sent, most := st.TCP.ResetsSent-before, uint64(r.now.Sub(start)/time.Millisecond)*answersPerSecond/1000+answersBurst; sent > most {
		t.Errorf("%d resets, want at most %d", sent, most)
	}
	r.endAll(accepted)
}

//go:build linux

package xdp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// A sender is what the first queue sends from. Its TX and completion rings have
// an entry for each of its buffers, so that neither can overflow.
type sender struct {
	resolver Resolver
	idle     []uint16  // LIFO: the one sent from last is the warmest
	flying   int       // buffers in the TX ring or with the kernel
	pending  bool      // the kernel did not take all of the TX ring
	short    bool      // the last Send took fewer than all
	stuck    mono.Time // first Send since buffers last came back that left something to send; 0: none
	counters TxCounters

	unresolved []unresolved     // oldest first
	resolved   []driver.TxFrame // of them, those to be sent now: storage
	looked     mono.Time        // when the resolver was last asked for them

	stall stallWatch // in zero-copy mode
}

// TxCounters say why frames were dropped. They are part of
// driver.Stats.TxDropped.
type TxCounters struct {
	Unresolved uint64 // no link address is known for the destination
	Refused    uint64 // not a frame that the interface carries
	Wire       uint64 // the kernel or the device dropped it
	Down       uint64 // the interface was down
	Stalled    uint64 // the NIC had them when it was found to send nothing any more
}

// openTX reserves the buffers to send from.
func (d *Driver) openTX(c *Config) error {
	d.tx.resolver = c.Resolver
	d.tx.idle = make([]uint16, c.TxBuffers)
	n := c.Pool.Alloc(d.tx.idle)
	for _, id := range d.tx.idle[:n] {
		d.ledger.places[id] = idle
	}
	if n < c.TxBuffers {
		return fmt.Errorf("%d buffers are free to send from, of %d: %w", n, c.TxBuffers, unix.ENOBUFS)
	}
	return nil
}

// Send copies frames into buffers, completes their link addresses and checksums,
// and has the kernel send them, with one system call for all if that needs one.
//
// Dropped and counted are frames longer than the MTU, requests that Caps does not
// offer, and all while the interface is down. Those for whose destination no link
// address is known are copied, and wait for one: see maxUnresolved.
func (d *Driver) Send(now mono.Time, frames []driver.TxFrame) (n int, err error) {
	if err := d.sendResolved(now); err != nil {
		return 0, err
	}
	return d.send(now, frames)
}

func (d *Driver) send(now mono.Time, frames []driver.TxFrame) (n int, err error) {
	if err := d.usable(); err != nil {
		return 0, err
	}
	t, q := &d.tx, d.queues[0]
	if !t.short && !t.pending {
		t.stuck = 0 // since the last Send
	}
	t.short = false
	out := t.flying
	back := d.reap()
	if !d.link.up {
		t.stall = stallWatch{}
		t.counters.Down += uint64(len(frames))
		return len(frames), nil
	}
	if d.mode == ZeroCopy && t.stall.look(now, out, back) {
		return 0, d.stalled()
	}
	start, room := q.tx.Reserve(q.tx.Size())
	end := start
	var hop nextHop
	for ; n < len(frames); n++ {
		f := &frames[n]
		if !d.carries(f) {
			t.counters.Refused++
			continue
		}
		if !hop.find(t.resolver, f) {
			if t.resolver != nil && hop.dst.IsValid() {
				t.keepUnresolved(now, f, hop.dst)
			} else {
				t.counters.Unresolved++
			}
			continue
		}
		need := d.segments(f.Len())
		if need > len(t.idle) || end-start+uint32(need) > room {
			t.short = true
			break
		}
		end = d.transmit(q, end, need, f, &hop.mac)
		d.stats.TxFrames++
		d.stats.TxBytes += uint64(f.Len())
	}
	q.tx.Submit(end - start)
	if end != start && q.tx.NeedsWakeup() || t.pending {
		d.kick()
	}
	if (t.short || t.pending) && t.stuck == 0 {
		t.stuck = now
	}
	return n, d.failed
}

// carries reports whether f is a frame that the interface carries, and that asks
// for nothing that Caps does not offer.
func (d *Driver) carries(f *driver.TxFrame) bool {
	n := f.Len()
	switch {
	case len(f.Head) < linkHeader || n > d.mtu+linkHeader:
		return false
	case f.GSOSize > 0 && n-len(f.Head) > f.GSOSize:
		return false
	case f.CsumStart == 0:
		return true
	}
	// The field lies in the headers, and the headers in the first buffer.
	last := min(len(f.Head), d.region.BufferSize()) - 2
	return f.CsumStart >= linkHeader && f.CsumStart <= last && f.CsumOffset >= 0 && f.CsumOffset <= last-f.CsumStart
}

// segments is how many buffers n bytes take. Unlike received ones they are
// filled from the start.
func (d *Driver) segments(n int) int { return (n + d.region.BufferSize() - 1) >> d.ledger.shift }

// A nextHop is where frames to one address go. The answer is kept within one Send
// only: neighbors change.
type nextHop struct {
	dst    netip.Addr
	mac    [6]byte
	ok     bool
	wanted bool // dst was asked for
}

// find finds the link address for f; false if there is none.
func (h *nextHop) find(r Resolver, f *driver.TxFrame) bool {
	dst, ok := destination(f.Head)
	if !ok || r == nil {
		*h = nextHop{}
		return false
	}
	if !h.wanted || h.dst != dst {
		h.dst, h.wanted = dst, true
		h.mac, h.ok = r.MAC(dst)
	}
	return h.ok
}

// destination is the IP address that a frame is sent to.
func destination(head []byte) (netip.Addr, bool) {
	ip := head[linkHeader:]
	switch binary.BigEndian.Uint16(head[12:]) {
	case wire.EtherTypeIPv4:
		if len(ip) >= wire.IPv4HeaderLen {
			return netip.AddrFrom4([4]byte(ip[16:20])), true
		}
	case wire.EtherTypeIPv6:
		if len(ip) >= wire.IPv6HeaderLen {
			return netip.AddrFrom16([16]byte(ip[24:40])), true
		}
	}
	return netip.Addr{}, false
}

// transmit writes f to need buffers, and to the TX ring from entry i on. It
// returns the entry after the last.
func (d *Driver) transmit(q *queue, i uint32, need int, f *driver.TxFrame, dst *[6]byte) uint32 {
	t := &d.tx
	src := source{pieces: [3][]byte{f.Head, f.Payload[0], f.Payload[1]}}
	for first, left := true, f.Len(); need > 0; need-- {
		id := t.idle[len(t.idle)-1]
		t.idle = t.idle[:len(t.idle)-1]
		d.ledger.places[id] = sending
		t.flying++
		n := min(left, d.region.BufferSize())
		b := d.region.Buffer(id)[:n]
		src.read(b)
		if first {
			copy(b[0:], dst[:])
			copy(b[6:], d.link.mac[:])
			if f.CsumStart > 0 {
				binary.BigEndian.PutUint16(b[f.CsumStart+f.CsumOffset:], checksum(f))
			}
		}
		q.tx.set(i, d.ledger.addr(id), n, need > 1)
		i++
		left -= n
		first = false
	}
	return i
}

// A source is the bytes of a frame, read one after the other.
type source struct {
	pieces [3][]byte
	at     int // the piece that is read
}

// read fills b.
func (s *source) read(b []byte) {
	for len(b) > 0 && s.at < len(s.pieces) {
		n := copy(b, s.pieces[s.at])
		b = b[n:]
		if s.pieces[s.at] = s.pieces[s.at][n:]; len(s.pieces[s.at]) == 0 {
			s.at++
		}
	}
}

// checksum is what f asks to have at CsumStart+CsumOffset: the checksum of
// everything from CsumStart on, in which the field counts with the
// pseudo-header's sum that it holds. Zero, which UDP takes for none, becomes its
// equal 0xffff (RFC 768).
func checksum(f *driver.TxFrame) uint16 {
	var s wire.Sum
	s.Add(f.Head[f.CsumStart:])
	s.Add(f.Payload[0])
	s.Add(f.Payload[1])
	if c := s.Checksum(); c != 0 {
		return c
	}
	return 0xffff
}

// reap takes back the buffers that were sent from, and returns how many.
func (d *Driver) reap() (back int) {
	t, q := &d.tx, d.queues[0]
	if t.flying == 0 {
		return 0
	}
	start, n := q.completion.Peek(q.completion.Size())
	for i := range n {
		id, _, ok := d.ledger.locate(q.completion.at(start+i), sending)
		if !ok {
			continue // not one that was sent from: the kernel can't have it
		}
		d.ledger.places[id] = idle
		t.idle = append(t.idle, id)
		t.flying--
		back++
	}
	q.completion.Release(n)
	if back > 0 {
		t.stuck = 0
	}
	return back
}

// maxKicks bounds the system calls of one kick: one may take as little as a frame,
// and one that takes none ends it.
const maxKicks = 64

// kick has the kernel look at the TX ring. In copy mode it sends within the
// call, and runs whatever that sets off; so this is no RawSyscall.
func (d *Driver) kick() {
	t, q := &d.tx, d.queues[0]
	t.pending = false
	left := q.tx.InFlight()
	for range maxKicks {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(q.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		d.stats.TxCalls++
		switch errno {
		case 0:
			return
		case unix.ENXIO:
			_ = d.gone()
			return
		case unix.ENETDOWN:
			// What is in the ring waits for the interface, and goes out late.
			t.pending = true
			return
		case unix.EBUSY:
			if d.mode == Copy {
				t.counters.Wire++ // one frame: it is completed, and was not sent
			}
		}
		// EAGAIN: so many frames at a time, or the device's or the socket's queue
		// is full. EBUSY: a frame was dropped. ENOBUFS, ENOMEM: later.
		d.reap() // a full completion ring would be no progress either
		now := q.tx.InFlight()
		if now == left && errno != unix.EINTR {
			t.pending = true
			return
		}
		left = now
		if left == 0 {
			return
		}
	}
	t.pending = true
}

// drain waits for what was sent to leave, for a bounded time.
func (d *Driver) drain() {
	for pauses := 0; d.failed == nil && d.link.up; pauses++ {
		if d.reap(); d.tx.flying == 0 || pauses == drainPauses {
			return
		}
		if d.tx.pending {
			d.kick()
		}
		d.sleep(drainPause)
	}
}

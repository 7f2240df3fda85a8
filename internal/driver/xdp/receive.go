//go:build linux

package xdp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

const linkHeader = wire.EthernetHeaderLen

// Poll takes frames from the RX rings, beginning with another queue each time,
// and gives the kernel new buffers. A frame stays in the buffers that it came
// in, its headers included: Head is nil.
//
// With no buffer free the kernel drops what comes when the fill ring is empty,
// and counts it.
func (d *Driver) Poll(now mono.Time, b *driver.Batch) error {
	b.Reset()
	if err := d.usable(); err != nil {
		return err
	}
	if err := d.sendResolved(now); err != nil {
		return err
	}
	if d.tx.pending {
		d.kick()
	}
	first := d.turn
	for i := range d.queues {
		at := first + i
		if at >= len(d.queues) {
			at -= len(d.queues)
		}
		q := d.queues[at]
		if d.busy && q.rx.Ready() == 0 {
			d.prod(q)
		}
		d.take(q, b)
		// At once, few as they may be: what the pool has then is what the stack
		// promises its peers, and none of it may still be due to the kernel.
		if q.posted < d.target {
			d.refill(q)
		}
	}
	if d.turn++; d.turn >= len(d.queues) {
		d.turn = 0
	}
	return d.failed
}

// take moves frames from q to b, as many as are there and b has room for.
func (d *Driver) take(q *queue, b *driver.Batch) {
	if b.Full() {
		return
	}
	start, ready := q.rx.Peek(uint32(cap(b.Frags) - len(b.Frags)))
	done := uint32(0)
	for done < ready && !b.Full() {
		if n := d.takeEach(q, start+done, ready-done, b); n > 0 {
			done += n
			continue
		}
		n := frameLen(q, start+done, ready-done)
		if n == 0 {
			break
		}
		d.accept(q, start+done, n, b)
		done += n
	}
	if done == 0 && ready > 0 && len(b.Frames) == 0 {
		done = d.skip(q, start, b)
	}
	q.rx.Release(done)
}

// takeEach moves frames of one buffer each from q to b, as nearly all are: those of the first of
// ready descriptors from start on, as many as b has room for. It ends before a descriptor of
// a longer frame, or one that is not as it should be: accept looks into these.
func (d *Driver) takeEach(q *queue, start, ready uint32, b *driver.Batch) (done uint32) {
	frags, left := b.Room()
	size, most := d.region.BufferSize(), min(ready, uint32(len(frags)))
	for done < most && left > 0 {
		desc := q.rx.at(start + done)
		id, off, ok := d.ledger.locate(desc.Addr, receiving)
		if !ok || continued(&desc) || desc.Len == 0 || desc.Len > uint32(size-off) {
			break
		}
		d.ledger.places[id] = elsewhere // the frame's
		frags[done].Landed(id, uint32(off), desc.Len)
		left -= int(desc.Len)
		done++
	}
	q.posted -= int(done)
	d.pool.Name(frags[:done])
	frames := b.AddEach(int(done), driver.Unverified)
	for i := range frames {
		d.count(q, &frames[i])
	}
	return done
}

// count has a frame of q looked at, and counts it.
func (d *Driver) count(q *queue, f *driver.Frame) {
	d.inspect(f)
	q.frames++
	d.stats.RxFrames++
	d.stats.RxBytes += uint64(f.Len)
}

// frameLen is how many of up to limit descriptors from i on are one frame; 0 if
// it goes on behind them.
func frameLen(q *queue, i, limit uint32) uint32 {
	for n := uint32(0); n < limit; n++ {
		d := q.rx.at(i + n)
		if !continued(&d) {
			return n + 1
		}
	}
	return 0
}

// skip drops a frame that an empty batch has no room for, which a correct
// kernel does not make; 0 if its end is not there yet.
func (d *Driver) skip(q *queue, start uint32, b *driver.Batch) uint32 {
	_, ready := q.rx.Peek(q.rx.Size())
	if int(ready) <= cap(b.Frags) {
		return 0
	}
	n := frameLen(q, start, ready)
	if n == 0 {
		n = ready
	}
	for i := range n {
		desc := q.rx.at(start + i)
		d.drop(q, &desc)
	}
	d.malformed++
	return n
}

// accept makes a frame of n descriptors from i on, and appends it to b.
func (d *Driver) accept(q *queue, i, n uint32, b *driver.Batch) {
	first, length := len(b.Frags), 0
	bad := false
	for end := i + n; i != end; i++ {
		desc := q.rx.at(i)
		id, off, ok := d.ledger.locate(desc.Addr, receiving)
		if !ok {
			bad = true
			continue
		}
		if desc.Len == 0 || desc.Len > uint32(d.region.BufferSize()-off) {
			bad = true
			d.drop(q, &desc)
			continue
		}
		d.ledger.places[id] = elsewhere // the frame's
		q.posted--
		b.Frags = d.pool.AppendFrag(b.Frags, id, off, int(desc.Len))
		length += int(desc.Len)
	}
	if bad {
		d.pool.PutFrags(b.Frags[first:])
		b.Frags = b.Frags[:first]
		d.malformed++
		return
	}
	d.count(q, b.AddFrags(first, length, driver.Unverified))
}

// drop puts back the buffer of a descriptor, if it is one.
func (d *Driver) drop(q *queue, desc *unix.XDPDesc) {
	if id, _, ok := d.ledger.locate(desc.Addr, receiving); ok {
		d.ledger.places[id] = elsewhere
		q.posted--
		d.pool.Put(id)
	}
}

// vlanTag is the EtherType of an IEEE 802.1Q tag.
const vlanTag = 0x8100

// inspect takes a priority tag off f, and recognizes a checksum, and cutting, that
// were left to a device.
func (d *Driver) inspect(f *driver.Frame) {
	head := d.region.View(f.Frags[0])
	if len(head) < linkHeader {
		return
	}
	ethertype := binary.BigEndian.Uint16(head[12:])
	// A tag with VLAN 0 carries a priority only, and belongs to the untagged
	// network (IEEE 802.1Q 6.9.1). The others are for the stack to refuse.
	if ethertype == vlanTag && len(head) >= linkHeader+wire.VLANTagLen && binary.BigEndian.Uint16(head[14:])&0xfff == 0 {
		copy(head[wire.VLANTagLen:], head[:12]) // our buffer: the addresses move up
		head = head[wire.VLANTagLen:]
		f.Frags[0] = f.Frags[0].Slice(wire.VLANTagLen, f.Frags[0].Len())
		f.Len -= wire.VLANTagLen
		ethertype = binary.BigEndian.Uint16(head[12:])
	}
	if !d.partial {
		return
	}
	if isPartial(head[linkHeader:], f.Len-linkHeader, ethertype) {
		f.Checksum = driver.Vouched
	}
	// Longer than what the interface carries: a super-segment, that a sender on this
	// machine left to a device to cut (generic mode only). AF_XDP does not tell its
	// segments' size, nor of one that is no longer than that.
	if f.Len > d.link.mtu+maxLinkHeader {
		f.GSOSize = driver.GSOUnknown
	}
}

// refill gives the kernel buffers to receive into, until as many are posted as
// should be or none is free.
func (d *Driver) refill(q *queue) {
	var ids [64]uint16
	for q.posted < d.target {
		i, room := q.fill.Reserve(uint32(min(d.target-q.posted, len(ids))))
		if room == 0 {
			break
		}
		n := d.pool.Alloc(ids[:room])
		for _, id := range ids[:n] {
			d.ledger.places[id] = receiving
			q.fill.set(i, d.ledger.addr(id))
			i++
		}
		q.fill.Submit(uint32(n))
		q.posted += n
		q.starved = n < int(room)
		if q.starved {
			break
		}
	}
	if q.fill.NeedsWakeup() {
		d.prod(q)
	}
}

// prod has the interface's driver look at the fill ring or, with busy polling,
// receive. The answer does not matter: what is wrong shows in Wait and Send.
func (d *Driver) prod(q *queue) {
	d.stats.RxCalls++
	_, _, _ = unix.Syscall6(unix.SYS_RECVFROM, uintptr(q.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
}

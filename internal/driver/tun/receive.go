//go:build linux

package tun

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// headRoom is the length in bytes of the memory for one frame's virtio_net_hdr
// and headers. Longer headers are not told from payload.
const headRoom = 256

// A receiver is where reads go: the head, then buffers of the region, enough for
// the largest frame. Buffers that a frame leaves unused stay for the next.
type receiver struct {
	pool  *buf.Pool
	size  int    // bytes of a buffer
	heads []byte // headRoom for each frame of a batch

	// iov[0] is the head, iov[1+i] is buffer bufs[i]. Of bufs the first missing
	// ones are not allocated.
	iov     []unix.Iovec
	bufs    []uint16
	missing int
	stalled bool // frames are known to wait for buffers

	predict predictor
}

func newReceiver(pool *buf.Pool) (receiver, error) {
	if pool == nil {
		return receiver{}, fmt.Errorf("tun: no pool to receive into: %w", unix.EINVAL)
	}
	size := pool.Region().BufferSize()
	n := (maxFrame + size - 1) / size
	if have := pool.Region().Count(); have < n {
		return receiver{}, fmt.Errorf("tun: region of %d buffers of %d bytes; the largest frame takes %d: %w", have, size, n, unix.EINVAL)
	}
	return receiver{
		pool: pool, size: size,
		iov:  make([]unix.Iovec, 1+n),
		bufs: make([]uint16, n), missing: n,
		predict: predictor{length: firstGuess},
	}, nil
}

// Poll reads packets until there is none left or b is full; b must have room
// for at least one frame of the largest size (17 frags of 4 KiB).
//
// How long a packet is shows only when it has been read, and one for which
// there is too little room loses its tail. So a read needs buffers for the
// largest one: with fewer free, packets stay in the interface's queue, small
// ones too, and count as a stall; when the queue is full the kernel drops.
func (d *Driver) Poll(_ mono.Time, b *driver.Batch) error {
	b.Reset()
	if err := d.usable(); err != nil {
		return err
	}
	r := &d.rx
	if cap(b.Frags) < len(r.bufs) {
		return fmt.Errorf("tun: a batch of %d frags; a frame may take %d: %w", cap(b.Frags), len(r.bufs), unix.EINVAL)
	}
	if len(r.heads) < cap(b.Frames)*headRoom {
		r.heads = make([]byte, cap(b.Frames)*headRoom)
	}
	// As many reads as frames fit, refused ones among them: a bounded time.
	for range cap(b.Frames) {
		if b.Full() {
			return nil
		}
		if cap(b.Frags)-len(b.Frags) < len(r.bufs) {
			return nil
		}
		if !r.refill() {
			return d.stall()
		}
		slot := r.heads[len(b.Frames)*headRoom:][:headRoom]
		setIovec(&r.iov[0], slot[:vnetLen+r.predict.length])
		n, errno := readv(d.fd, &r.iov[0], len(r.iov))
		d.stats.RxCalls++
		switch {
		case errno == unix.EAGAIN:
			return nil
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return d.failed("read", errno)
		}
		if !r.accept(slot, n, b) {
			d.stats.RxMalformed++
			continue
		}
		d.stats.RxFrames++
		d.stats.RxBytes += uint64(n - vnetLen)
	}
	return nil
}

// refill allocates the buffers that are missing, or as many as there are; false
// if some are missing still.
func (r *receiver) refill() bool {
	if r.missing == 0 {
		return true
	}
	n := r.pool.Alloc(r.bufs[:r.missing])
	copy(r.bufs[r.missing-n:r.missing], r.bufs[:n])
	for ; n > 0; n-- {
		r.missing--
		setIovec(&r.iov[1+r.missing], r.pool.Region().Buffer(r.bufs[r.missing]))
	}
	if r.missing > 0 {
		return false
	}
	r.stalled = false
	return true
}

// stall counts the first time that packets are there and buffers are not.
func (d *Driver) stall() error {
	if d.rx.stalled {
		return nil
	}
	ready, err := d.ask(unix.POLLIN)
	if err == nil && ready&unix.POLLIN != 0 {
		d.rx.stalled = true
		d.stats.RxStalls++
	}
	return err
}

// accept makes a frame of a read of n bytes, the first of them in slot, and
// appends it to b; false if it must not reach the stack.
func (r *receiver) accept(slot []byte, n int, b *driver.Batch) bool {
	guess := r.predict.length
	if n <= vnetLen || n >= vnetLen+guess+len(r.bufs)*r.size {
		return false // empty, or its tail may be missing
	}
	length := n - vnetLen
	var v wire.VnetHdr
	if wire.ParseVnetHdr(slot[:vnetLen], length, &v) != wire.OK {
		return false
	}
	head, headers := r.split(slot[vnetLen:], length)
	if !plausible(&v, head, headers) {
		return false
	}
	f := driver.Frame{Head: head, Len: length}
	if v.ChecksumVouched() {
		f.Checksum = driver.Vouched
	}
	if v.GSO != wire.GSONone && length-headers > int(v.GSOSize) {
		f.GSOSize = int32(v.GSOSize)
	}
	if headers > 0 {
		r.predict.learn(headers, length-headers)
	}
	first := len(b.Frags)
	off := max(len(head)-guess, 0) // of the first buffer, what went to the head
	for left := length - len(head); left > 0; off = 0 {
		n := min(left, r.size-off)
		b.Frags = r.pool.AppendFrag(b.Frags, r.bufs[r.missing], off, n)
		r.missing++
		left -= n
	}
	f.Frags = b.Frags[first:len(b.Frags):len(b.Frags)]
	b.Add(f)
	return true
}

// split finds the headers of a packet of length bytes, of which as many as were
// predicted lie in slot, and the rest in buffers. headers is their length, 0 if
// it is not known. head is what the frame's Head is to be: what the read put
// there, and behind it, if the headers are longer than that, the rest of them,
// copied. If they are shorter head has the payload's first bytes, too.
func (r *receiver) split(slot []byte, length int) (head []byte, headers int) {
	guess := r.predict.length
	head = slot[:min(guess, length):min(guess, length)]
	if headers = segmentHeaders(head, length); headers > 0 {
		return head, headers
	}
	headers = driver.HeaderLen(head, length, 0)
	if headers > 0 || length <= guess {
		return head, headers
	}
	more := r.pool.Region().Buffer(r.bufs[0])[:min(length-guess, r.size)]
	more = more[:copy(slot[guess:], more)]
	headers = driver.HeaderLen(slot[:guess+len(more)], length, 0)
	if headers == 0 {
		return head, 0
	}
	return slot[:headers:headers], headers
}

// plausible reports whether what a virtio_net_hdr says of segmentation agrees
// with the packet.
func plausible(v *wire.VnetHdr, head []byte, headers int) bool {
	switch v.GSO {
	case wire.GSONone:
		return true
	case wire.GSOTCPv4:
		return headers > 0 && head[0]>>4 == 4 && (!v.NeedsCsum || v.CsumOffset == tcpChecksum)
	case wire.GSOTCPv6:
		return headers > 0 && head[0]>>4 == 6 && (!v.NeedsCsum || v.CsumOffset == tcpChecksum)
	case wire.GSOUDPL4:
		// The checksum's place tells that it is UDP (the stack parses the rest).
		return headers > 0 && v.NeedsCsum && v.CsumOffset == udpChecksum && int(v.CsumStart)+wire.UDPHeaderLen == headers
	}
	return false // not asked for
}

// mayRead reports whether Poll would read. If it lacks buffers the pool's owner
// will be told when some come back.
func (r *receiver) mayRead() bool {
	if r.missing == 0 {
		return true
	}
	r.pool.WantReturn() // before the last look
	return r.pool.Free() >= r.missing
}

// close puts the buffers back. The pool may free its memory from here on, so
// that nothing may point to it any more.
func (r *receiver) close() {
	for _, id := range r.bufs[r.missing:] {
		r.pool.Put(id)
	}
	r.missing = len(r.bufs)
	clear(r.iov)
}

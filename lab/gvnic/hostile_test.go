//go:build linux

package gvnic

import (
	"errors"
	"testing"
	"time"

	"github.com/zctap/zctap/lab/vfiouser"
	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

const nowhere = uint64(0x1234_5678_9000)

// TestBadTxBuffers: what a descriptor points to is not there; the packet is
// lost and completed, the queue goes on.
func TestBadTxBuffers(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{ring: 64})
	y.up(setup{})
	y.oneQueue()
	q := x.tx[0]
	end := uint64(guestBase + guestSize)
	for i, addr := range []uint64{nowhere, 0, end - 50, 1<<64 - 50, end} {
		q.put(packetDesc(addr, 100, 9, 1<<5))
		q.kick()
		if c := q.wait(); c.kind != complPacket || c.tag != 9 {
			t.Errorf("completion %+v", c)
		}
		if n := x.dev.Stats().Tx[0].DropBadBuffer; n != uint64(i+1) {
			t.Errorf("address %#x: %d bad buffers", addr, n)
		}
	}
	q.put([txDescSize]byte{8: 0x1f}) // no such kind
	q.put([txDescSize]byte{})
	q.done(q.send(spec{}.frame(t), sending{}))
	y.rx[0].wait()
	if s := x.dev.Stats().Tx[0]; s.BadDescriptor != 2 || s.Frames != 1 {
		t.Errorf("%+v", s)
	}
	for _, tail := range []uint32{64, 1 << 31, 1<<32 - 1} {
		x.ring(q.db, tail)
	}
	x.ring(doorbellTx+2, 0)
	x.ring(doorbellRx+2, 0)
	x.ring(doorbellsSize/4-1, 7)
	x.try(x.c.WriteRegion(barDoorbells, uint64(4*q.db+2), []byte{1, 2, 3, 4}))
	x.try(x.c.WriteRegion(barDoorbells, uint64(4*q.db), []byte{1, 2}))
	if n := x.dev.Stats().BadDoorbells; n != 8 {
		t.Errorf("%d bad doorbells, want 8", n)
	}
	q.done(q.send(spec{}.frame(t), sending{}))
	y.rx[0].wait()
}

// TestEndlessChain: a packet that never ends takes no more memory than the
// longest one, and is lost when it ends.
func TestEndlessChain(t *testing.T) {
	x, y := pair(t, Config{}, Config{})
	x.up(setup{ring: 64})
	y.up(setup{})
	y.oneQueue()
	q := x.tx[0]
	for _, n := range []int{1<<14 - 1, 0} {
		for range 100 {
			for range 60 {
				q.put(packetDesc(q.buf, n, 1, 0))
			}
			q.kick()
		}
		d := x.dev
		d.mu.Lock()
		if c := &d.tx[0].chain; len(c.pieces) > 64 || c.total > maxFrame+1<<14 || !c.long {
			t.Errorf("chain of %d pieces, %d bytes, too long: %v", len(c.pieces), c.total, c.long)
		}
		d.mu.Unlock()
		q.put(packetDesc(q.buf, 10, 2, 1<<5))
		q.kick()
		q.done(2)
	}
	if s := x.dev.Stats().Tx[0]; s.DropTooLong != 2 || s.Frames != 0 {
		t.Errorf("%+v", s)
	}
	q.done(q.send(spec{}.frame(t), sending{}))
	y.rx[0].wait()
}

// TestTooLong: packets over the MTU, and under an Ethernet header.
func TestTooLong(t *testing.T) {
	x, y := pair(t, Config{}, Config{MTU: 9000})
	x.up(setup{})
	y.up(setup{})
	q := x.tx[0]
	q.done(q.send(pattern(1, 1500+22), sending{}))
	q.done(q.send(pattern(1, 1500+23), sending{}))
	q.done(q.send(pattern(1, 13), sending{}))
	if s := x.dev.Stats().Tx[0]; s.Frames != 1 || s.DropTooLong != 1 || s.DropMalformed != 1 {
		t.Errorf("%+v", s)
	}
	// What a wire brings that is longer than the receiver's MTU.
	q = y.tx[0]
	q.done(q.send(pattern(1, 5000), sending{}))
	s := spec{payload: pattern(1, 20_000), partial: true}
	q.done(q.send(s.frame(t), sending{mss: 8000, header: 54}))
	x.eventually("drops", func() bool { return x.dev.Stats().Rx[0].DropTooLong+x.dev.Stats().Rx[1].DropTooLong == 4 })
	x.dev.Deliver(Frame{Data: pattern(1, 13)})
	x.dev.Deliver(Frame{})
	x.dev.Deliver(Frame{Data: pattern(1, maxFrame+1)})
	x.dev.Deliver(Frame{Data: pattern(1, 5000), SegmentSize: 1000})
	x.eventually("malformed", func() bool { return x.dev.Stats().DropMalformed == 4 })
}

// TestBadRxBuffers: a buffer that is not there is given back marked as an
// error, and the frame is lost; the next one finds the next buffer.
func TestBadRxBuffers(t *testing.T) {
	y := newGuest(t, newDevice(t, Config{MTU: 9000}))
	y.up(setup{ring: 64, noPost: true})
	y.oneQueue()
	q := y.rx[0]
	slot := func(i int) []byte { return y.at(q.ring+uint64(i)*rxDescSize, rxDescSize) }
	q.post(6)
	le.PutUint64(slot(1)[8:], nowhere) // of a frame in three buffers, the second
	le.PutUint64(slot(2)[16:], nowhere)
	y.dev.Deliver(Frame{Data: spec{payload: pattern(1, 8900)}.frame(t)})
	for range 2 { // of the first two of its buffers each
		if r := q.wait(); !r.rxError || r.buffers != 1 || len(r.payload) != 0 {
			t.Fatalf("%+v", r)
		}
	}
	y.dev.Deliver(Frame{Data: spec{payload: pattern(2, 100)}.frame(t)})
	if r := q.wait(); !r.rxError { // no header buffer
		t.Fatalf("%+v", r)
	}
	y.dev.Deliver(Frame{Data: spec{payload: pattern(3, 100)}.frame(t)})
	if r := q.wait(); r.rxError || string(r.payload) != string(pattern(3, 100)) {
		t.Fatalf("%+v", r)
	}
	if s := y.dev.Stats().Rx[0]; s.DropBadBuffer != 2 || s.Frames != 1 || s.Descriptors != 4 {
		t.Errorf("%+v", s)
	}
	for _, tail := range []uint32{64, 1 << 31} {
		y.ring(q.db, tail)
	}
	if n := y.dev.Stats().BadDoorbells; n != 2 {
		t.Errorf("%d bad doorbells", n)
	}
}

// TestLostRings: guest memory with rings and buffers goes away; the queues
// fail, and can be made anew.
func TestLostRings(t *testing.T) {
	d := newDevice(t, Config{})
	peer := newDevice(t, Config{Index: 1})
	Join(d, peer)
	g := newGuest(t, d)
	g.up(setup{ring: 64})
	g.oneQueue()
	g.try(g.mem.Unmap())
	g.ring(g.tx[0].db, 5)
	g.ring(g.rx[0].db, 5)
	for range 3 {
		d.Deliver(Frame{Data: spec{}.frame(t)})
	}
	g.eventually("drops", func() bool { return d.Stats().Rx[0].DropBadBuffer >= 3 })
	g.ring(g.tx[0].db, 9)
	if s := d.Stats(); s.Tx[0].Failed != 1 || s.Tx[0].Descriptors != 0 {
		t.Errorf("%+v", s)
	}
	g.writeReg(regAdminDoorbell, g.prod+1)
	if s := d.Stats(); s.AdminFaults != 1 {
		t.Errorf("%+v", s)
	}
	var err error
	if g.mem, err = g.c.Map(guestBase, guestSize); err != nil {
		t.Fatal(err)
	}
	g.free, g.adm = 0, 0
	g.writeReg(regDriverStatus, driverReset)
	g.up(setup{ring: 64})
	g.oneQueue()
	d.Deliver(Frame{Data: spec{}.frame(t)})
	g.rx[0].wait()
	g.tx[0].done(g.tx[0].send(spec{}.frame(t), sending{}))
}

// TestTruncated: a guest whose memory file shrinks loses its connection; the
// device waits for the next guest.
func TestTruncated(t *testing.T) {
	for _, how := range []string{"transmit", "receive"} {
		d := newDevice(t, Config{})
		func() {
			c, done := vfiousertest.StartRaw(t, d)
			_, err := c.Negotiate()
			g := &guest{t: t, dev: d, c: c}
			g.try(err)
			g.mem, err = c.Map(guestBase, guestSize)
			g.try(err)
			g.try(c.EnableVectors(d.Info().Vectors))
			g.up(setup{ring: 64})
			g.oneQueue()
			g.try(g.mem.Truncate(0))
			if how == "transmit" {
				_ = c.WriteRegion(barDoorbells, uint64(4*g.tx[0].db), le.AppendUint32(nil, 1))
			} else {
				d.Deliver(Frame{Data: spec{}.frame(t)})
			}
			if err := done(); !errors.Is(err, vfiouser.ErrFault) {
				t.Errorf("%s: %v", how, err)
			}
		}()
		d.Deliver(Frame{Data: spec{}.frame(t)})
		nobody := &guest{t: t, dev: d}
		nobody.eventually("the frame without a guest", func() bool { return d.Stats().DropNoDriver > 0 })
		g := newGuest(t, d)
		g.up(setup{ring: 64})
		g.oneQueue()
		d.Deliver(Frame{Data: spec{}.frame(t)})
		g.rx[0].wait()
	}
}

// TestNextGuest: a guest comes after another; nothing is left of the first.
func TestNextGuest(t *testing.T) {
	d := newDevice(t, Config{})
	for i := range 3 {
		c, done := vfiousertest.StartRaw(t, d)
		_, err := c.Negotiate()
		g := &guest{t: t, dev: d, c: c}
		g.try(err)
		g.mem, err = c.Map(guestBase, guestSize)
		g.try(err)
		g.try(c.EnableVectors(d.Info().Vectors))
		if g.readReg(regAdminCounter) != 0 || g.readReg(regAdminBaseLow) != 0 {
			t.Errorf("guest %d sees the admin queue of another", i)
		}
		g.up(setup{ring: 64})
		g.oneQueue()
		d.Deliver(Frame{Data: spec{payload: []byte("x")}.frame(t)})
		g.rx[0].wait()
		g.try(c.Close())
		if err := done(); err != nil {
			t.Error(err)
		}
		if pages := d.PayloadFrames(0); len(pages) != 1 {
			t.Errorf("%d pages after the guest is gone", len(pages))
		}
	}
	if s := d.Stats(); s.Rx[0].Created != 3 {
		t.Errorf("%+v", s)
	}
	d.Close()
	if !d.Deliver(Frame{Data: make([]byte, 100)}) {
		t.Error("a closed device refuses frames for ever")
	}
	time.Sleep(time.Millisecond)
}

//go:build linux

package gvnic

import (
	"testing"
	"time"
)

// TestMailbox: bounds, order, and who is told of room.
func TestMailbox(t *testing.T) {
	m := mailbox{maxFrames: 3, maxBytes: 100}
	of := func(n int) Frame { return Frame{Data: make([]byte, n)} }
	put := func(n int, want bool) {
		t.Helper()
		if m.put(of(n)) != want {
			t.Errorf("put of %d bytes: %v", n, !want)
		}
	}
	take := func(refused bool, sizes ...int) {
		t.Helper()
		frames, r := m.take(nil)
		if r != refused || len(frames) != len(sizes) {
			t.Fatalf("%d frames, refused %v; want %d, %v", len(frames), r, len(sizes), refused)
		}
		for i := range sizes {
			if len(frames[i].Data) != sizes[i] {
				t.Errorf("frame %d: %d bytes, want %d", i, len(frames[i].Data), sizes[i])
			}
		}
	}
	take(false)
	put(10, true)
	put(20, true)
	put(30, true)
	put(0, false) // the fourth
	take(true, 10, 20, 30)
	take(false)
	put(60, true)
	put(41, false) // too many bytes
	put(40, true)
	take(true, 60, 40)
	put(1000, true) // one has always room
	put(1, false)
	take(true, 1000)
	put(1, true)
	if m.close() {
		t.Error("nobody was refused")
	}
	put(5, true) // to nowhere
	put(5, true)
	put(5, true)
	put(5, true)
	take(false)
	m = mailbox{maxFrames: 1, maxBytes: 1}
	put(1, true)
	put(1, false)
	if !m.close() || m.close() {
		t.Error("who was refused is told once")
	}
}

// slowEnd takes so many frames, and no more until told.
type slowEnd struct {
	mailbox
	peer End
}

func (e *slowEnd) Connect(peer End)     { e.peer = peer }
func (e *slowEnd) Deliver(f Frame) bool { return e.put(f) }
func (e *slowEnd) Ready()               {}
func (e *slowEnd) Close() error         { return nil }

// TestBackpressure: a device whose wire is full neither loses nor completes
// what it can't send, and goes on when told; a wire that goes does not hold it.
func TestBackpressure(t *testing.T) {
	x := newGuest(t, newDevice(t, Config{}))
	e := &slowEnd{mailbox: mailbox{maxFrames: 10, maxBytes: 1 << 20}}
	Join(e, x.dev)
	x.up(setup{ring: 256})
	sent := 0
	for q := range 2 {
		for range 50 {
			x.tx[q].send(spec{seq: uint32(sent)}.frame(t), sending{})
			sent++
		}
	}
	completed := func() (n int) {
		for _, q := range x.tx {
			for {
				c, ok := q.poll()
				if !ok {
					break
				}
				if c.kind == complPacket {
					n++
				}
			}
		}
		return n
	}
	total := 0
	x.eventually("a wire that is full", func() bool {
		total += completed()
		return total >= 10 && x.dev.Stats().TxTotal().Stalls > 0
	})
	time.Sleep(5 * time.Millisecond)
	if total += completed(); total != 10 {
		t.Fatalf("%d completions with room for 10", total)
	}
	got := 0
	for got < sent {
		frames, refused := e.take(nil)
		got += len(frames)
		if refused {
			x.dev.Ready()
		}
		time.Sleep(time.Millisecond)
		if total += completed(); total > got+10 {
			t.Fatalf("%d completions for %d frames taken", total, got)
		}
	}
	x.eventually("all completions", func() bool { total += completed(); return total == sent })
	s := x.dev.Stats().TxTotal()
	if s.Frames != uint64(sent) || s.Stalls == 0 || s.DropNoWire != 0 {
		t.Errorf("%+v", s)
	}
	for range 30 {
		x.tx[0].send(spec{}.frame(t), sending{})
	}
	if e.close() {
		e.peer.Ready()
	}
	x.eventually("completions of what went nowhere", func() bool { total += completed(); return total == sent+30 })
}

// TestClosedPeer: two devices, one of which is closed while the wire is full.
func TestClosedPeer(t *testing.T) {
	x := newGuest(t, newDevice(t, Config{}))
	y := newDevice(t, Config{Index: 1, WireFrames: 2})
	Join(x.dev, y)
	x.up(setup{ring: 256})
	var tag uint16
	for range 100 {
		tag = x.tx[0].send(spec{}.frame(t), sending{})
	}
	y.Close()
	y.Close()
	x.tx[0].done(tag)
}

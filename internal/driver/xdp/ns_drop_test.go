//go:build linux

package xdp

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
)

// sum is how many frames the driver and its sockets have accounted for, those
// that wait in the RX rings included.
func sum(d *Driver) (n uint64) {
	for i, q := range d.QueueStats() {
		n += q.Frames + q.Dropped + q.RingFull + uint64(d.queues[i].rx.Ready())
	}
	return n
}

// TestNSOverflow: every frame is received or counted as dropped, for the reason
// that there was.
func TestNSOverflow(t *testing.T) {
	for _, tt := range []struct {
		name          string
		mtu, size     int
		rings         Rings
		sent          int
		got           int
		dropped, full uint64
	}{
		{"no buffer", 1500, 100, Rings{Fill: 40}, 100, 40, 60, 0},
		{"no room in the RX ring", 1500, 100, Rings{Fill: 80, RX: 32}, 100, 32, 0, 68},
		{"buffers for part of a frame", 9000, 8900, Rings{Fill: 32}, 20, 10, 10, 0},
		{"room for part of a frame", 9000, 8900, Rings{Fill: 80, RX: 32}, 20, 10, 0, 10},
		{"all fit just so", 1500, 100, Rings{Fill: 64, RX: 64}, 64, 64, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{mtu: tt.mtu, only4: true})
			c := w.config(256)
			c.Rings = tt.rings
			d := w.open(c)
			conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
			b := driver.NewBatch(256, 512)
			for round := uint64(1); round <= 3; round++ {
				write(t, conn, noise(1, tt.size), tt.sent)
				want := round * (tt.dropped + tt.full)
				eventually(t, "the drops are counted", func() bool {
					s := d.QueueStats()[0]
					return s.Dropped+s.RingFull >= want
				})
				got := 0
				receive(t, d, b, func(*packet) bool { got++; return got == tt.got })
				poll(t, d, b, 0)
				s, q := statsOf(d), d.QueueStats()[0]
				if q.Dropped != round*tt.dropped || q.RingFull != round*tt.full || s.RxNoBuffer != want || q.InvalidRX != 0 {
					t.Errorf("round %d: %+v, %d without a buffer; want %d and %d", round, q, s.RxNoBuffer, round*tt.dropped, round*tt.full)
				}
				if s.RxFrames != round*uint64(tt.got) || s.RxFrames+s.RxNoBuffer != round*uint64(tt.sent) {
					t.Errorf("round %d: %d received and %d dropped, of %d", round, s.RxFrames, s.RxNoBuffer, round*uint64(tt.sent))
				}
			}
		})
	}
}

// TestNSStarvation: while the application holds all buffers frames are dropped and
// counted, and when it gives them back everything goes on.
func TestNSStarvation(t *testing.T) {
	w := newWorld(t, worldOptions{only4: true})
	c := w.config(128)
	c.Rings, c.TxBuffers = Rings{Fill: 64}, 18
	d := w.open(c)
	c.Pool.OnReturn(d.Wake)
	conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
	b := driver.NewBatch(64, 64)
	sent := uint64(0)
	for episode := uint64(1); episode <= 3; episode++ {
		var held []uint16
		for len(held) < 128-18 {
			write(t, conn, noise(sent, 1000), 8)
			sent += 8
			eventually(t, "all are there", func() bool { return sum(d) == sent })
			if err := d.Poll(0, b); err != nil {
				t.Fatal(err)
			}
			for _, f := range b.Frags {
				held = append(held, f.Buffer())
			}
		}
		write(t, conn, noise(sent, 1000), 10)
		sent += 10
		eventually(t, "all are there", func() bool { return sum(d) == sent })
		poll(t, d, b, 0)
		if s := statsOf(d); s.RxFrames != episode*(128-18) || s.RxFrames+s.RxNoBuffer != sent {
			t.Fatalf("episode %d: %d received, %d dropped, of %d", episode, s.RxFrames, s.RxNoBuffer, sent)
		}
		// Nothing to do until a buffer comes back, and then at once.
		done := waiting(t, d, 0)
		for _, id := range held {
			c.Pool.Put(id)
		}
		returns(t, done)
		poll(t, d, b, 0)
		if q := d.QueueStats()[0]; q.Posted != 64 {
			t.Fatalf("%d buffers posted when all are free", q.Posted)
		}
	}
}

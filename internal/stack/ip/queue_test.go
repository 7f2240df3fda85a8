package ip

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// discard is a driver that takes everything.
type discard struct {
	caps driver.Caps
	driver.Driver
}

func (d *discard) Caps() driver.Caps { return d.caps }

func (d *discard) Send(_ mono.Time, frames []driver.TxFrame) (int, error) { return len(frames), nil }

// segments sends one-segment frames of the given payload, which the caller may
// overwrite after the next Flush.
func segment(tx *Tx, seq int, payload []byte) {
	tx.TCP(a4, b4, &wire.TCP{Seq: wire.Seq(seq), Flags: wire.ACK}, [2][]byte{payload}, 1400)
}

func TestFullWireKeepsFramesInOrder(t *testing.T) {
	w := newStub(driver.Caps{})
	tx := NewTx(w)
	var want [][]byte
	send := func(n int) {
		bufs := make([][]byte, n)
		for i := range bufs {
			bufs[i] = bytes.Repeat([]byte{byte(len(want))}, 100+i)
			want = append(want, bytes.Clone(bufs[i]))
			segment(tx, len(want), bufs[i])
		}
		if err := tx.Flush(0); err != nil {
			t.Fatal(err)
		}
		for _, b := range bufs {
			clear(b) // it is ours again
		}
	}
	w.room = 3
	send(10)
	if !tx.Stalled() || len(w.frames) != 3 {
		t.Fatalf("stalled %v with %d frames sent; want 3", tx.Stalled(), len(w.frames))
	}
	send(5) // behind those that wait
	w.room = 4
	tx.Flush(0)
	send(2)
	if !tx.Stalled() || len(w.frames) != 7 {
		t.Fatalf("stalled %v with %d frames sent; want 7", tx.Stalled(), len(w.frames))
	}
	w.room = -1
	tx.Flush(0)
	if tx.Stalled() || len(w.frames) != len(want) {
		t.Fatalf("stalled %v with %d frames sent, want %d", tx.Stalled(), len(w.frames), len(want))
	}
	for i, f := range w.frames {
		p := parse(t, f, 0)
		if p.tcp.Seq != wire.Seq(i+1) || !bytes.Equal(p.payload, want[i]) {
			t.Errorf("frame %d is segment %d, or has other payload", i, p.tcp.Seq)
		}
	}
	if s := tx.Stats(); s.Stalls != 1 || s.Dropped != 0 || s.Frames != uint64(len(want)) {
		t.Errorf("stats %+v", s)
	}
}

func TestFullWireDropsBeyondTheBound(t *testing.T) {
	w := newStub(driver.Caps{})
	w.room = 0
	tx := NewTx(w)
	const n = maxFrames + 40
	for i := range n {
		segment(tx, i, nil)
	}
	tx.Flush(0)
	if s := tx.Stats(); s.Dropped != n-maxFrames || !tx.Stalled() {
		t.Errorf("dropped %d, want %d", s.Dropped, n-maxFrames)
	}
	w.room = -1
	tx.Flush(0)
	if len(w.frames) != maxFrames || parse(t, w.frames[0], 0).tcp.Seq != 0 {
		t.Errorf("%d frames went out, want the first %d", len(w.frames), maxFrames)
	}
}

// TestFullWireHoldsTheLargest fills the wire in the middle of the most that can
// be borrowed: nothing of what was taken in before the wire was seen to be full
// may be lost, and what comes after may not overrun the store.
func TestFullWireHoldsTheLargest(t *testing.T) {
	w := newStub(driver.Caps{MaxGSO: 65535, TxChecksum: true})
	w.room = 0
	tx := NewTx(w)
	ping := wire.Packet{Src: b4, Dst: a4, Version: 4, Proto: wire.ProtoICMP}
	data := pattern(1400)
	echo := wire.ICMP{Kind: wire.ICMPEchoRequest, PayloadLen: len(data)}
	for range maxCopied/len(data) + 1 {
		tx.EchoReply(&ping, &echo, data)
	}
	answers := len(tx.frames)
	payload := pattern(64000)
	calls := 0
	for ; !tx.Stalled(); calls++ {
		segment(tx, calls, payload)
	}
	if calls-1 < maxBorrowed/len(payload) {
		t.Fatalf("stalled after %d segments", calls)
	}
	for i := range 10 {
		segment(tx, calls+i, payload)
		tx.EchoReply(&ping, &echo, data)
	}
	dropped := tx.Stats().Dropped
	if dropped < 10 {
		t.Errorf("%d dropped, want the 10 answers at least", dropped)
	}
	clear(payload)
	w.room = -1
	tx.Flush(0)
	if tx.Stalled() || len(w.frames) < answers+calls-1 {
		t.Fatalf("%d frames went out, want %d at least", len(w.frames), answers+calls-1)
	}
	for i, f := range w.frames[answers:] {
		if p := parse(t, f, 0); int(p.tcp.Seq) != i || !bytes.Equal(p.payload, pattern(64000)) {
			t.Fatalf("segment %d has number %d, or other payload", i, p.tcp.Seq)
		}
	}
}

func TestGoneWire(t *testing.T) {
	w := newStub(driver.Caps{})
	w.gone = true
	tx := NewTx(w)
	segment(tx, 1, pattern(100))
	if err := tx.Flush(0); !errors.Is(err, errGone) {
		t.Fatalf("Flush: %v", err)
	}
	sends := w.sends
	for i := range 2 * maxFrames {
		segment(tx, i, pattern(1400))
	}
	if err := tx.Flush(0); !errors.Is(err, errGone) || w.sends != sends || tx.Stalled() {
		t.Errorf("Flush: %v, %d more sends, stalled %v; want the error only", err, w.sends-sends, tx.Stalled())
	}
}

func TestUDP(t *testing.T) {
	for _, a := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		w := newStub(driver.Caps{})
		tx := NewTx(w)
		src, dst := netip.AddrPortFrom(a[0], 1000), netip.AddrPortFrom(a[1], 2000)
		most := pattern(tx.MaxUDP(a[0].Is6()))
		for _, payload := range [][]byte{nil, most[:1], most} {
			if err := tx.UDP(src, dst, 0, payload); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.UDP(src, dst, 0, append(most, 0)); err == nil || err.Error() != "message too long" {
			t.Errorf("%d bytes: %v, want EMSGSIZE", len(most)+1, err)
		}
		if err := tx.UDP(src, netip.AddrPort{}, 0, nil); err == nil {
			t.Error("a datagram to nowhere was sent")
		}
		tx.Flush(0)
		if len(w.frames) != 3 || len(w.frames[2].bytes) != 1500 {
			t.Fatalf("%d frames, the last of %d bytes", len(w.frames), len(w.frames[2].bytes))
		}
		for i, want := range [][]byte{nil, most[:1], most} {
			p := parse(t, w.frames[i], 0)
			if !bytes.Equal(p.payload, want) || p.udp.SrcPort != 1000 || p.udp.DstPort != 2000 || p.Src != a[0] || p.Dst != a[1] {
				t.Errorf("datagram %d: %+v with %d bytes", i, p.udp, len(p.payload))
			}
		}
	}
}

func TestICMP(t *testing.T) {
	for _, a := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
		w := newStub(driver.Caps{})
		tx := NewTx(w)
		// The peer b sends us, a, a datagram.
		peer := newStub(driver.Caps{})
		peerTx := NewTx(peer)
		peerTx.UDP(netip.AddrPortFrom(a[1], 2000), netip.AddrPortFrom(a[0], 1000), 0, pattern(1000))
		peerTx.Flush(0)
		orig := parse(t, peer.frames[0], 0)
		tx.Error(wire.PortUnreachable, &orig.Packet, peer.frames[0].bytes)

		request := orig.Packet
		request.Proto = wire.ProtoICMP
		if a[0].Is6() {
			request.Proto = wire.ProtoICMPv6
		}
		data := pattern(777)
		m := wire.ICMP{Kind: wire.ICMPEchoRequest, EchoID: 7, EchoSeq: 8, PayloadLen: len(data)}
		tx.EchoReply(&request, &m, data[:1], data[1:])
		tx.Error(wire.PortUnreachable, &request, peer.frames[0].bytes) // about ICMP: none
		tx.Flush(0)

		if len(w.frames) != 2 {
			t.Fatalf("%d frames, want 2", len(w.frames))
		}
		p := parse(t, w.frames[0], 0)
		if want := orig.Tuple(2000, 1000).Reverse(); p.icmp.Kind != wire.ICMPUnreachable || p.icmp.Quote.Flow != want || p.Dst != a[1] {
			t.Errorf("%+v; want one about %v", p.icmp, want)
		}
		p = parse(t, w.frames[1], 0)
		if p.icmp.Kind != wire.ICMPEchoReply || p.icmp.EchoID != 7 || p.icmp.EchoSeq != 8 || !bytes.Equal(p.payload, data) {
			t.Errorf("%+v", p.icmp)
		}
	}
}

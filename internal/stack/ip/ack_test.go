package ip

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// sendAck sends h by Ack or, if it is none, as others are.
func sendAck(tx *Tx, class uint8, from, to netip.Addr, h *wire.TCP) {
	var a wire.Ack
	if h.PutAck(&a) {
		tx.Ack(class, &wire.Tuple{Local: netip.AddrPortFrom(from, h.SrcPort), Remote: netip.AddrPortFrom(to, h.DstPort)}, &a)
		return
	}
	tx.TCPClass(class, from, to, h, [2][]byte{}, 0)
}

// TestAck: a segment without payload goes out as one with payload would, whoever fills in the
// checksum and whatever lies before the IP header.
func TestAck(t *testing.T) {
	for _, caps := range []driver.Caps{{}, {TxChecksum: true}, {LinkHeader: 14}, {LinkHeader: 14, TxChecksum: true}} {
		for _, addrs := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
			for _, o := range []wire.TCPOptions{{}, {HasTimestamps: true, TSVal: 1, TSEcr: 2}, {HasTimestamps: true, SACKCount: 1}, {MSS: 1460}} {
				t.Run(fmt.Sprintf("link %d, checksum %v, %v, %d", caps.LinkHeader, caps.TxChecksum, addrs[0], o.Len()), func(t *testing.T) {
					w := newStub(caps)
					tx := NewTx(w)
					h := wire.TCP{SrcPort: 1234, DstPort: 80, Seq: 5, Ack: 99, Flags: wire.ACK, Window: 77, Options: o}
					const class = 0xb8
					sendAck(tx, class, addrs[0], addrs[1], &h)
					tx.segment(addrs[0], addrs[1], &h, [2][]byte{}, 0, class)
					if err := tx.Flush(1); err != nil || len(w.frames) != 2 {
						t.Fatal(len(w.frames), err)
					}
					got, want := w.frames[0], w.frames[1]
					if !bytes.Equal(got.bytes, want.bytes) {
						t.Errorf("sent\n%x, want\n%x", got.bytes, want.bytes)
					}
					if got.CsumStart != want.CsumStart || got.CsumOffset != want.CsumOffset || got.IPv6 != want.IPv6 || got.GSOSize != 0 {
						t.Errorf("sent %+v, want %+v", got.TxFrame, want.TxFrame)
					}
				})
			}
		}
	}
}

// TestAckAfterAnother: nothing of a segment is left in the next one's headers, whichever way either went.
func TestAckAfterAnother(t *testing.T) {
	w := newStub(driver.Caps{})
	tx := NewTx(w)
	for i := range 64 {
		addrs := [2]netip.Addr{a4, b4}
		if i&1 != 0 {
			addrs = [2]netip.Addr{a6, b6}
		}
		if i&2 != 0 {
			addrs[0], addrs[1] = addrs[1], addrs[0]
		}
		h := wire.TCP{SrcPort: 1234, DstPort: 80, Seq: 5, Ack: 99, Flags: wire.ACK, Window: 77}
		h.Options.HasTimestamps = i&4 != 0
		if i&8 != 0 {
			h.Options.SACKCount = 1
		}
		class := uint8(i>>4&1) * 0xb8
		tx.SetHopLimit(uint8(64 + i>>5))
		sendAck(tx, class, addrs[0], addrs[1], &h)
		tx.segment(addrs[0], addrs[1], &h, [2][]byte{}, 0, class)
	}
	if err := tx.Flush(1); err != nil || len(w.frames) != 128 {
		t.Fatal(len(w.frames), err)
	}
	for i := 0; i < 128; i += 2 {
		if got, want := w.frames[i].bytes, w.frames[i+1].bytes; !bytes.Equal(got, want) {
			t.Errorf("%d: sent\n%x, want\n%x", i/2, got, want)
		}
	}
}

package ip

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

func TestTCPSegments(t *testing.T) {
	const mss = 1448
	tests := []struct {
		name    string
		caps    driver.Caps
		payload int
		cut     int   // where the payload's second piece begins
		frames  []int // payload lengths
	}{
		{"no payload", driver.Caps{}, 0, 0, []int{0}},
		{"one byte", driver.Caps{}, 1, 0, []int{1}},
		{"one full segment", driver.Caps{}, mss, 100, []int{mss}},
		{"one byte more", driver.Caps{}, mss + 1, 100, []int{mss, 1}},
		{"cut here", driver.Caps{}, 3*mss + 5, 2000, []int{mss, mss, mss, 5}},
		{"cut at a segment's end", driver.Caps{}, 2 * mss, mss, []int{mss, mss}},
		{"cut by the driver", driver.Caps{MaxGSO: 65535, TxChecksum: true}, 3*mss + 5, 2000, []int{3*mss + 5}},
		{"more than the driver takes", driver.Caps{MaxGSO: 5000, TxChecksum: true}, 8 * mss, 2000, []int{3 * mss, 3 * mss, 2 * mss}},
		{"a driver that takes two", driver.Caps{MaxGSO: 52 + 2*mss, TxChecksum: true}, 3 * mss, 1, []int{2 * mss, mss}},
		{"Ethernet", driver.Caps{LinkHeader: 14}, mss + 1, 0, []int{mss, 1}},
		{"Ethernet, cut by the driver", driver.Caps{LinkHeader: 14, MaxGSO: 65535, TxChecksum: true}, 2 * mss, 0, []int{2 * mss}},
	}
	for _, tt := range tests {
		for _, addrs := range [][2]netip.Addr{{a4, b4}, {a6, b6}} {
			t.Run(fmt.Sprintf("%s/%v", tt.name, addrs[0]), func(t *testing.T) {
				w := newStub(tt.caps)
				tx := NewTx(w)
				h := wire.TCP{
					SrcPort: 1234, DstPort: 80, Seq: 0xfffffff0, Ack: 99, Window: 77,
					Flags:   wire.ACK | wire.PSH | wire.FIN | wire.CWR,
					Options: wire.TCPOptions{HasTimestamps: true, TSVal: 5, TSEcr: 6},
				}
				segment := mss
				if addrs[0].Is6() && tt.caps.MaxGSO != 0 && tt.caps.MaxGSO < 60000 {
					t.Skip("the driver's limit is about IPv4 here")
				}
				payload := pattern(tt.payload)
				tx.TCP(addrs[0], addrs[1], &h, [2][]byte{payload[:tt.cut], payload[tt.cut:]}, segment)
				if len(w.frames) != 0 {
					t.Fatalf("%d frames before Flush", len(w.frames))
				}
				if err := tx.Flush(0); err != nil {
					t.Fatal(err)
				}
				if len(w.frames) != len(tt.frames) || w.sends != 1 {
					t.Fatalf("%d frames in %d sends, want %d in 1", len(w.frames), w.sends, len(tt.frames))
				}
				seq := h.Seq
				var all []byte
				for i, f := range w.frames {
					p := parse(t, f, tt.caps.LinkHeader)
					if len(p.payload) != tt.frames[i] {
						t.Errorf("frame %d has %d bytes of payload, want %d", i, len(p.payload), tt.frames[i])
					}
					wantGSO := 0
					if len(p.payload) > mss {
						wantGSO = mss
					}
					if f.GSOSize != wantGSO || f.IPv6 != addrs[0].Is6() {
						t.Errorf("frame %d: GSOSize %d, IPv6 %v", i, f.GSOSize, f.IPv6)
					}
					want := h.Flags
					if i > 0 {
						want &^= wire.CWR
					}
					if i < len(w.frames)-1 {
						want &^= wire.FIN | wire.PSH
					}
					if p.tcp.Flags != want || p.tcp.Seq != seq || p.tcp.Ack != 99 || p.tcp.Window != 77 ||
						p.tcp.Options != h.Options || p.Src != addrs[0] || p.Dst != addrs[1] {
						t.Errorf("frame %d: %+v of %v to %v; want flags %v, seq %d", i, p.tcp, p.Src, p.Dst, want, seq)
					}
					seq = seq.Add(uint32(len(p.payload)))
					all = append(all, p.payload...)
				}
				if !bytes.Equal(all, payload) {
					t.Error("the payload came out different")
				}
			})
		}
	}
}

func TestEthernetType(t *testing.T) {
	for addr, want := range map[netip.Addr]uint16{a4: wire.EtherTypeIPv4, a6: wire.EtherTypeIPv6} {
		w := newStub(driver.Caps{LinkHeader: 14})
		tx := NewTx(w)
		tx.TCP(addr, addr, &wire.TCP{}, [2][]byte{}, 100)
		tx.Flush(0)
		var e wire.Ethernet
		if c := wire.ParseEthernet(w.frames[0].bytes, len(w.frames[0].bytes), &e); c != wire.OK || e.EtherType != want {
			t.Errorf("%v: %v, type %#x", addr, c, e.EtherType)
		}
	}
}

func TestMSS(t *testing.T) {
	tx := NewTx(newStub(driver.Caps{MTU: 1500}))
	if got := [2]int{tx.MSS(false), tx.MSS(true)}; got != [2]int{1460, 1440} {
		t.Errorf("MSS = %v", got)
	}
}

func TestUnsendable(t *testing.T) {
	w := newStub(driver.Caps{})
	tx := NewTx(w)
	tx.TCP(a4, b6, &wire.TCP{}, [2][]byte{}, 100)
	tx.TCP(netip.Addr{}, b4, &wire.TCP{}, [2][]byte{}, 100)
	tx.TCP(a4, b4, &wire.TCP{Options: wire.TCPOptions{HasTimestamps: true, SACKCount: 4}}, [2][]byte{}, 100)
	if err := tx.Flush(0); err != nil || len(w.frames) != 0 {
		t.Fatalf("%d frames, %v", len(w.frames), err)
	}
	if s := tx.Stats(); s.Unsendable != 3 {
		t.Errorf("stats %+v, want 3 unsendable", s)
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	tx := NewTx(&discard{driver.Caps{MTU: 1500, MaxGSO: 65535, TxChecksum: true}, nil})
	payload := pattern(60000)
	h := wire.TCP{Flags: wire.ACK}
	if n := testing.AllocsPerRun(100, func() {
		for range 300 { // beyond the frames and the bytes that wait
			tx.TCP(a4, b4, &h, [2][]byte{payload[:1000], payload[1000:]}, 1448)
		}
		tx.Flush(0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

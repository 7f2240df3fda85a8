package mem

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// TestSplit sends frames of all shapes both ways that a device can lay them
// out, and looks where header and payload are.
func TestSplit(t *testing.T) {
	page := 4096
	icmp := driver.TxFrame{Head: udpFrame(t, src4, dst4, make([]byte, 100)).Head}
	icmp.Head[9] = wire.ProtoICMP
	raw := driver.TxFrame{Head: pattern(9, 700)}
	whole := udpFrame(t, src4, dst4, pattern(8, 1000))
	whole = driver.TxFrame{Head: flat(&whole)}
	stamps := wire.TCPOptions{HasTimestamps: true}
	for _, tt := range []struct {
		name    string
		frame   driver.TxFrame
		head    int // split: bytes of Head
		buffers int // split: buffers of the rest
	}{
		{"TCP", tcpFrame(t, src4, dst4, wire.TCPOptions{}, pattern(1, 1460)), 40, 1},
		{"TCP with options", tcpFrame(t, src4, dst4, stamps, pattern(2, 1448)), 52, 1},
		{"TCP over IPv6", tcpFrame(t, src6, dst6, stamps, pattern(3, 8000)), 72, 2},
		{"TCP, a page", tcpFrame(t, src4, dst4, stamps, pattern(4, page)), 52, 1},
		{"TCP, a page and a byte", tcpFrame(t, src4, dst4, stamps, pattern(5, page+1)), 52, 2},
		{"TCP without payload", tcpFrame(t, src4, dst4, stamps, nil), 52, 0},
		{"UDP", udpFrame(t, src4, dst4, pattern(6, 1)), 28, 1},
		{"UDP over IPv6", udpFrame(t, src6, dst6, pattern(7, 1200)), 48, 1},
		{"UDP, sent in one piece", whole, 28, 1},
		{"ICMP", icmp, 0, 1},
		{"not IP", raw, 0, 1},
	} {
		for _, split := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/split=%v", tt.name, split), func(t *testing.T) {
				x, y := pipe(t, Config{MTU: 9000}, Config{NoSplit: !split})
				b := driver.NewBatch(4, 16)
				send(t, x, tt.frame)
				f := &poll(t, y, b, 1)[0]
				defer put(y.config.Pool, b)

				head, buffers := tt.head, tt.buffers
				if !split {
					head, buffers = 0, buffersFor(tt.frame.Len(), page)
				}
				if len(f.Head) != head || len(f.Frags) != buffers || f.Len != tt.frame.Len() {
					t.Errorf("head of %d bytes and %d buffers, length %d; want %d and %d, %d",
						len(f.Head), len(f.Frags), f.Len, head, buffers, tt.frame.Len())
				}
				if f.GSOSize != 0 || f.Checksum != driver.Vouched {
					t.Errorf("GSOSize %d, checksum %d", f.GSOSize, f.Checksum)
				}
				if !bytes.Equal(contents(y.config.Pool, f), flat(&tt.frame)) {
					t.Error("the bytes are not those sent")
				}
				for i, frag := range f.Frags {
					if frag.Offset() != 0 || i < len(f.Frags)-1 && frag.Len() != page {
						t.Errorf("frag %d at %d, %d bytes", i, frag.Offset(), frag.Len())
					}
				}
			})
		}
	}
}

// TestRefused: what a device like that would not send is dropped, counted, and
// does not hold up what comes behind it.
func TestRefused(t *testing.T) {
	data := func(n int) driver.TxFrame {
		return tcpFrame(t, src4, dst4, wire.TCPOptions{}, pattern(1, n))
	}
	gso := func(n, size int) driver.TxFrame {
		f := data(n)
		f.GSOSize = size
		return f
	}
	beyond := data(10)
	beyond.CsumStart = 49
	unasked := data(10)
	unasked.CsumStart = 0
	for _, tt := range []struct {
		name    string
		config  Config
		frame   driver.TxFrame
		sent    bool
		gsoSize int
	}{
		{"as long as the MTU", Config{}, data(1460), true, 0},
		{"longer than the MTU", Config{}, data(1461), false, 0},
		{"as long as a set MTU", Config{MTU: 9000}, data(8960), true, 0},
		{"empty", Config{}, driver.TxFrame{}, false, 0},
		{"super-segment, no GSO", Config{}, gso(4000, 1460), false, 0},
		{"super-segment", Config{MaxGSO: 65535}, gso(65495, 1460), true, 1460},
		{"super-segment too long", Config{MaxGSO: 60000}, gso(60001-40, 1460), false, 0},
		{"super-segment of one", Config{MaxGSO: 65535}, gso(1460, 1460), true, 0},
		{"segments longer than the MTU", Config{MaxGSO: 65535}, gso(4000, 1461), false, 0},
		{"checksum field beyond the end", Config{}, beyond, false, 0},
		{"checksum of a plain device", Config{Offload: Plain}, data(10), false, 0},
		{"no checksum, plain device", Config{Offload: Plain}, unasked, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, y := pipe(t, tt.config, Config{})
			b := driver.NewBatch(4, 32)
			last := driver.TxFrame{Head: []byte("last")}
			send(t, x, tt.frame, last)
			want := 1
			if tt.sent {
				want = 2
			}
			frames := poll(t, y, b, want)
			defer put(y.config.Pool, b)
			if string(contents(y.config.Pool, &frames[want-1])) != "last" {
				t.Error("the frame behind is not as it was sent")
			}
			s := statsOf(x)
			if s.TxFrames != uint64(want) || s.TxDropped != uint64(2-want) {
				t.Errorf("sent %d, dropped %d", s.TxFrames, s.TxDropped)
			}
			if tt.sent && int(frames[0].GSOSize) != tt.gsoSize {
				t.Errorf("GSOSize = %d, want %d", frames[0].GSOSize, tt.gsoSize)
			}
		})
	}
}

// TestChecksum looks at what each kind of device makes of a checksum.
func TestChecksum(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		src, dst := src4, dst4
		if v6 {
			src, dst = src6, dst6
		}
		for _, n := range []int{0, 1, 2, 999, 1000, 40000} {
			for _, f := range []driver.TxFrame{
				tcpFrame(t, src, dst, wire.TCPOptions{}, pattern(uint64(n), n)),
				udpFrame(t, src, dst, pattern(uint64(n), n)),
			} {
				for _, offload := range []Offload{Local, Completed} {
					x, y := pipe(t, Config{MTU: 65535, Offload: offload}, Config{})
					b := driver.NewBatch(1, 32)
					send(t, x, f)
					got := &poll(t, y, b, 1)[0]
					var p wire.Packet
					raw := contents(y.config.Pool, got)
					if c := wire.ParseIP(raw, len(raw), wire.Verify, &p); c != wire.OK {
						t.Fatal(c)
					}
					valid, partial := p.VerifyL4(raw) == wire.OK, p.IsPartial(raw)
					if done := offload == Completed; valid != done || partial == done || (got.Checksum == driver.Unverified) != done {
						t.Errorf("IPv6 %v, protocol %d, %d bytes, offload %d: valid %v, partial %v, frame says %d",
							v6, p.Proto, n, offload, valid, partial, got.Checksum)
					}
					put(y.config.Pool, b)
				}
			}
		}
	}
}

// TestZeroChecksum: a datagram whose checksum comes out as zero must not arrive
// as one that has none.
func TestZeroChecksum(t *testing.T) {
	payload := []byte{0, 0}
	f := udpFrame(t, src4, dst4, payload)
	sum := checksum(&f)
	f.Payload = [2][]byte{{byte(sum >> 8), byte(sum)}} // makes the sum over all 0xffff
	x, y := pipe(t, Config{Offload: Completed}, Config{})
	b := driver.NewBatch(1, 1)
	send(t, x, f)
	got := contents(y.config.Pool, &poll(t, y, b, 1)[0])
	put(y.config.Pool, b)
	if got[26] != 0xff || got[27] != 0xff {
		t.Errorf("checksum %x, want ffff", got[26:28])
	}
}

func TestEthernet(t *testing.T) {
	x, y := pipe(t, Config{LinkHeader: 14}, Config{LinkHeader: 14})
	f := udpFrame(t, src4, dst4, pattern(1, 1472))
	f.Head = append([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00"), f.Head...)
	f.CsumStart += 14
	b := driver.NewBatch(1, 4)
	send(t, x, f)
	got := &poll(t, y, b, 1)[0]
	defer put(y.config.Pool, b)
	if len(got.Head) != 42 || !bytes.Equal(contents(y.config.Pool, got), flat(&f)) {
		t.Errorf("head of %d bytes, want 42, or other bytes than were sent", len(got.Head))
	}
	if c := x.Caps(); c.LinkHeader != 14 || c.MTU != 1500 || c.Name != "mem" || !c.TxChecksum || c.ZeroCopy {
		t.Errorf("Caps = %+v", c)
	}
}

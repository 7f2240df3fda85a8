//go:build linux

package gvnic

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// TestSegment cuts super-frames of all kinds, and holds each packet against
// package wire: lengths, checksums, sequence numbers, flags, and the bytes.
func TestSegment(t *testing.T) {
	flags := wire.PSH | wire.FIN | wire.CWR
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{wire.ProtoTCP, wire.ProtoUDP} {
			for _, tags := range []int{0, 1, 2} {
				for _, n := range []int{1449, 2896, 2897, 60000} {
					t.Run(fmt.Sprintf("v6=%v/proto=%d/tags=%d/%d", v6, proto, tags, n), func(t *testing.T) {
						s := spec{v6: v6, proto: proto, tags: tags, stamps: true, seq: 1<<32 - 2000, flags: flags,
							partial: true, tos: 3, payload: pattern(uint64(n), n)}
						whole := s.frame(t)
						f := Frame{Data: bytes.Clone(whole), SegmentSize: 1448, Checksum: Partial}
						out, ok := f.segment()
						if !ok || len(out) != (n+1447)/1448 {
							t.Fatalf("%d packets, %v", len(out), ok)
						}
						if !bytes.Equal(f.Data, whole) {
							t.Error("the super-frame has changed")
						}
						var got []byte
						for i, o := range out {
							if o.SegmentSize != 0 || o.Checksum != Vouched {
								t.Errorf("packet %d: %+v", i, o)
							}
							p, tcp, payload := checkFrame(t, o.Data)
							first, last := i == 0, i == len(out)-1
							if len(payload) != 1448 && !last {
								t.Errorf("packet %d: %d bytes of payload", i, len(payload))
							}
							if p.TrafficClass != 3 || p.Version == 4 && p.ID != uint32(100+i) {
								t.Errorf("packet %d: traffic class %d, ID %d", i, p.TrafficClass, p.ID)
							}
							if proto == wire.ProtoTCP {
								want := wire.ACK | wire.FIN | wire.PSH | wire.CWR
								if !last {
									want &^= wire.FIN | wire.PSH
								}
								if !first {
									want &^= wire.CWR
								}
								if tcp.Flags != want || uint32(tcp.Seq) != s.seq+uint32(len(got)) || tcp.Ack != 77 || !tcp.Options.HasTimestamps {
									t.Errorf("packet %d: %+v; want flags %v", i, tcp, want)
								}
							}
							got = append(got, payload...)
						}
						if !bytes.Equal(got, s.payload) {
							t.Error("the payload is not that of the super-frame")
						}
					})
				}
			}
		}
	}
}

// TestCut: parts of a super-frame are super-frames, or packets, and together
// they are the whole.
func TestCut(t *testing.T) {
	s := spec{payload: pattern(1, 10_000), flags: wire.PSH, stamps: true}
	su, ok := newSuper(Frame{Data: s.frame(t), SegmentSize: 1000})
	if !ok || su.segments() != 10 {
		t.Fatalf("%v, %d segments", ok, su.segments())
	}
	for n := 1; n < 10; n++ {
		a, b := su.cut(0, n), su.cut(n, 10-n)
		for _, f := range []struct {
			Frame
			n int
		}{{a, n}, {b, 10 - n}} {
			if f.n > 1 != (f.SegmentSize == 1000) || f.n == 1 && f.SegmentSize != 0 {
				t.Errorf("%d of 10 packets: segment size %d", f.n, f.SegmentSize)
			}
		}
		_, ta, pa := checkFrame(t, a.Data)
		ib, tb, pb := checkFrame(t, b.Data)
		if !bytes.Equal(append(bytes.Clone(pa), pb...), s.payload) || len(pa) != n*1000 {
			t.Errorf("cut at %d: %d and %d bytes", n, len(pa), len(pb))
		}
		if ta.Flags.Has(wire.PSH) || !tb.Flags.Has(wire.PSH) || int(tb.Seq.Sub(ta.Seq)) != n*1000 || ib.ID != uint32(100+n) {
			t.Errorf("cut at %d: %+v and %+v", n, ta, tb)
		}
	}
}

// TestNotSuper: what can't be cut is refused.
func TestNotSuper(t *testing.T) {
	good := spec{payload: pattern(1, 5000)}.frame(t)
	icmp := spec{proto: wire.ProtoICMP, payload: pattern(1, 5000)}.frame(t)
	frag := bytes.Clone(good)
	be.PutUint16(frag[20:], 0x2000)
	for name, f := range map[string]Frame{
		"segments too small": {Data: good, SegmentSize: minSegment - 1},
		"ICMP":               {Data: icmp, SegmentSize: 1000},
		"a fragment":         {Data: frag, SegmentSize: 1000},
		"truncated":          {Data: good[:3000], SegmentSize: 1000},
		"no payload":         {Data: spec{}.frame(t), SegmentSize: 1000},
		"not IP":             {Data: make([]byte, 3000), SegmentSize: 1000},
		"empty":              {SegmentSize: 1000},
	} {
		if out, ok := f.segment(); ok {
			t.Errorf("%s: %d packets", name, len(out))
		}
	}
	if out, ok := (Frame{Data: good, SegmentSize: minSegment}).segment(); !ok || len(out) != 57 {
		t.Errorf("the smallest segments: %d, %v", len(out), ok)
	}
}

//go:build linux

package gvnic

import (
	"bytes"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// oneQueue sends everything to queue 0: what a driver with a table of zeros has.
func (g *guest) oneQueue() {
	g.t.Helper()
	table := g.alloc(4 * rssTableSize)
	clear(g.at(table, 4*rssTableSize))
	g.must(opConfigureRSS, uint16(0), uint8(rssToeplitz), uint8(0), uint16(0), uint16(rssTableSize), uint64(0), table)
}

// TestPath sends frames of all kinds from one guest to the other, many times
// round the rings, and looks at what arrives where.
func TestPath(t *testing.T) {
	for _, tt := range []struct {
		name string
		setup
	}{
		{"split, 4 KiB", setup{ring: 64}},
		{"split, 2 KiB", setup{ring: 64, buffer: 2048}},
		{"unsplit", setup{ring: 64, noSplit: true}},
		{"coalescing", setup{ring: 64, rsc: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, y := pair(t, Config{MTU: 9000}, Config{MTU: 9000})
			x.up(setup{ring: 128})
			y.up(tt.setup)
			y.oneQueue()
			q := y.rx[0]
			for i := range 300 {
				s := spec{
					v6: i%2 == 1, seq: uint32(i), partial: i%3 == 0, stamps: i%5 < 3,
					payload: pattern(uint64(i), i*29%8900),
				}
				if i%7 == 6 {
					s.proto = wire.ProtoUDP
				}
				want := s
				want.partial = false
				f := s.frame(t)
				tag := x.tx[i%2].send(f, sending{csum: s.partial, pieces: []int{len(f)/3 + 1}, event: i%40 == 0})
				r := q.wait()
				x.tx[i%2].done(tag)
				if !bytes.Equal(r.frame(), want.frame(t)) {
					t.Fatalf("frame %d: %d+%d bytes are not the %d sent", i, len(r.header), len(r.payload), len(f))
				}
				if tt.noSplit != (r.header == nil) || !tt.noSplit && !bytes.Equal(r.payload, s.payload) {
					t.Fatalf("frame %d: header of %d bytes", i, len(r.header))
				}
				if r.rxError || r.badIP || r.badL4 || !r.processed || r.segment != 0 {
					t.Fatalf("frame %d: %+v", i, r)
				}
				q.post(r.buffers)
			}
			a, b := x.dev.Stats(), y.dev.Stats()
			tx, rx := a.TxTotal(), b.RxTotal()
			if tx.Frames != 300 || rx.Frames != 300 || tx.Bytes != rx.Bytes || tx.Checksums != 100 {
				t.Errorf("sent %+v, received %+v", tx, rx)
			}
			if tt.noSplit && rx.Unsplit != 300 || !tt.noSplit && rx.Split != 300 {
				t.Errorf("received %+v", rx)
			}
			if b.Rx[0].Frames != 300 || b.Interrupts == 0 || a.BadDoorbells+b.BadDoorbells != 0 || a.AdminErrors+b.AdminErrors != 0 {
				t.Errorf("stats: %+v and %+v", a, b)
			}
		})
	}
}

//go:build linux

package xdp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/driver"
)

// TestNSReceive: datagrams of the kernel arrive whole, in order, in buffers of
// the region, many times round every ring.
func TestNSReceive(t *testing.T) {
	for _, tt := range []struct {
		name string
		mtu  int
		size int // of a datagram
		ours netip.Addr
	}{
		{"IPv4", 1500, 1400, ours4},
		{"IPv6", 1500, 1400, ours6},
		{"small", 1500, 8, ours4},
		{"9000", 9000, 8900, ours4},
		{"9000 IPv6", 9000, 8900, ours6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{mtu: tt.mtu})
			c := w.config(512)
			c.Rings = Rings{Fill: 64}
			d := w.open(c)
			if d.Mode() != Copy || d.Fallback() == nil {
				t.Errorf("mode %v, because of %v; want copy, because veth has no zero-copy without more", d.Mode(), d.Fallback())
			}
			conn := w.dialUDP(netip.AddrPortFrom(tt.ours, 7))
			b := driver.NewBatch(32, 128)
			const total = 2000
			others := uint64(0)
			for got := uint64(0); got < total; {
				// A burst that the rings can take, so that none may be lost.
				for i := range uint64(16) {
					p := noise(got+i, tt.size)
					binary.BigEndian.PutUint64(p, got+i)
					if _, err := conn.Write(p); err != nil {
						t.Fatal(err)
					}
				}
				end := got + 16
				others += receive(t, d, b, func(p *packet) bool {
					payload := p.raw[p.udp.PayloadOffset:]
					want := noise(got, tt.size)
					binary.BigEndian.PutUint64(want, got)
					if !bytes.Equal(payload, want) {
						t.Fatalf("datagram %d is not as it was sent: %d bytes, %x", got, len(payload), payload[:8])
					}
					if p.frame.Head != nil || p.frame.Checksum != driver.Vouched {
						t.Errorf("head of %d bytes, checksum %d; want none, and vouched for: veth leaves it unfinished",
							len(p.frame.Head), p.frame.Checksum)
					}
					got++
					return got == end
				})
			}
			s := statsOf(d)
			if s.RxFrames != total+others || s.RxNoBuffer != 0 || s.RxMalformed != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

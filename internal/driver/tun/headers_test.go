//go:build linux

package tun

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/wire"
)

// TestSegmentHeaders: segments of bulk streams are found out, and nothing else.
func TestSegmentHeaders(t *testing.T) {
	stamped := wire.TCP{Flags: wire.ACK, Options: wire.TCPOptions{HasTimestamps: true}}
	with := func(f driver.TxFrame, change func(b []byte)) []byte {
		b := flat(f)
		change(b)
		return b
	}
	segment4, segment6 := flow4.tcp(t, stamped, noise(1, 1000)), flow6.tcp(t, stamped, noise(1, 1000))
	for _, tt := range []struct {
		name   string
		packet []byte
		head   int // bytes of it that are looked at
		want   int
	}{
		{"IPv4", flat(segment4), 52, 52},
		{"IPv4 without options", flat(flow4.tcp(t, wire.TCP{Flags: wire.ACK}, noise(1, 1000))), 52, 40},
		{"IPv4, as long as can be", flat(flow4.tcp(t, stamped, noise(1, 65535-52))), 52, 52},
		{"IPv4, no payload", flat(flow4.tcp(t, stamped, nil)), 52, 52},
		{"IPv6", flat(segment6), 72, 72},
		{"IPv6 without options", flat(flow6.tcp(t, wire.TCP{Flags: wire.ACK}, noise(1, 1000))), 72, 60},
		{"IPv6, more to see", flat(segment6), 256, 72},

		{"nothing", nil, 0, 0},
		{"IPv4, headers cut off", flat(segment4), 51, 0},
		{"IPv6, headers cut off", flat(segment6), 59, 0},
		{"another protocol", with(segment4, func(b []byte) { b[9] = wire.ProtoUDP }), 52, 0},
		{"another protocol over IPv6", with(segment6, func(b []byte) { b[6] = wire.ProtoUDP }), 72, 0},
		{"IPv4 options", with(segment4, func(b []byte) { b[0] = 0x46 }), 52, 0},
		{"IPv4, first fragment", with(segment4, func(b []byte) { b[6] |= 0x20 }), 52, 0},
		{"IPv4, last fragment", with(segment4, func(b []byte) { b[7] = 1 }), 52, 0},
		{"IPv4, longer than it says", append(flat(segment4), 0), 52, 0},
		{"IPv4, shorter than it says", flat(segment4)[:1000], 52, 0},
		{"IPv4 from a multicast address", with(segment4, func(b []byte) { b[12] = 224 }), 52, 0},
		{"IPv6, longer than it says", append(flat(segment6), 0), 72, 0},
		{"IPv6, shorter than it says", flat(segment6)[:1000], 72, 0},
		{"IPv6 from a multicast address", with(segment6, func(b []byte) { b[8] = 0xff }), 72, 0},
		{"IPv6 from a mapped address", with(segment6, func(b []byte) { clear(b[8:18]); b[18], b[19] = 0xff, 0xff }), 72, 0},
		{"IPv6 to a mapped address", with(segment6, func(b []byte) { clear(b[24:34]); b[34], b[35] = 0xff, 0xff }), 72, 0},
		{"TCP header of 16 bytes", with(segment4, func(b []byte) { b[32] = 0x40 }), 52, 0},
		{"another version", with(segment4, func(b []byte) { b[0] = 0x55 }), 52, 0},
	} {
		head := tt.packet[:min(tt.head, len(tt.packet))]
		if got := segmentHeaders(head, len(tt.packet)); got != tt.want {
			t.Errorf("%s: %d bytes of headers, want %d", tt.name, got, tt.want)
		}
		if whole := driver.HeaderLen(head, len(tt.packet), 0); tt.want != 0 && whole != tt.want {
			t.Errorf("%s: driver.HeaderLen = %d, want %d", tt.name, whole, tt.want)
		}
	}
}

// FuzzSegmentHeaders: it says what driver.HeaderLen says, or nothing.
func FuzzSegmentHeaders(f *testing.F) {
	for _, flow := range []flow{flow4, flow6} {
		for _, h := range []wire.TCP{{Flags: wire.ACK}, {Flags: wire.ACK, Options: wire.TCPOptions{HasTimestamps: true}}} {
			f.Add(flat(flow.tcp(f, h, noise(1, 100))), uint8(100), true)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte, seen uint8, fits bool) {
		packet = bytes.Clone(packet)
		if fits && len(packet) >= 40 { // or mutations would hardly get past the lengths
			binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
			if packet[0]>>4 == 6 {
				binary.BigEndian.PutUint16(packet[4:], uint16(len(packet)-40))
			}
		}
		head := packet[:min(int(seen), len(packet))]
		if got := segmentHeaders(head, len(packet)); got != 0 && got != driver.HeaderLen(head, len(packet), 0) {
			t.Errorf("%d bytes of headers, driver.HeaderLen says %d: %x", got, driver.HeaderLen(head, len(packet), 0), head)
		}
	})
}

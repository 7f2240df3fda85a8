package stack

import (
	"bytes"
	"github.com/zctap/zctap/internal/driver"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// withIPv4Options puts options, a multiple of 4 bytes, into the header of b.
func withIPv4Options(b, options []byte) []byte {
	out := append(bytes.Clone(b[:20]), options...)
	out[0] += byte(len(options) / 4)
	n := len(b) + len(options)
	out[2], out[3] = byte(n>>8), byte(n)
	out[10], out[11] = 0, 0
	var s wire.Sum
	s.Add(out)
	sum := s.Checksum()
	out[10], out[11] = byte(sum>>8), byte(sum)
	return append(out, b[20:]...)
}

// An extension is a header of IPv6: its type, and its bytes from the third on.
type extension struct {
	kind byte
	rest []byte
}

// withExtensions puts extension headers between the header of b and its payload.
func withExtensions(b []byte, exts ...extension) []byte {
	out := bytes.Clone(b[:40])
	proto := out[6]
	n := len(b) - 40
	at := 6
	for _, e := range exts {
		out[at] = e.kind
		at = len(out)
		length := byte((2+len(e.rest))/8 - 1)
		if e.kind == 44 {
			length = 0
		}
		out = append(append(out, 0, length), e.rest...)
		n += 2 + len(e.rest)
	}
	out[at] = proto
	out[4], out[5] = byte(n>>8), byte(n)
	return append(out, b[40:]...)
}

// IPv4 options and IPv6 extension headers are skipped, and the payload behind them is
// what it was, in whatever piece of memory they end.
func TestOptionsAreSkipped(t *testing.T) {
	want := pattern(5, 300)
	packet := func(a pair) []byte {
		return udpPacket(t, netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53), want)
	}
	v4, v6 := packet(pairs[0]), packet(pairs[1])
	pad := extension{60, []byte{1, 4, 0, 0, 0, 0}}
	hop := extension{0, []byte{5, 2, 0, 0, 1, 0}}                     // router alert
	unknown := extension{60, []byte{0x1e, 4, 1, 2, 3, 4}}             // may be skipped
	routed := extension{43, []byte{4, 0, 0, 0, 0, 0}}                 // no segments left
	atomic := extension{44, []byte{0, 0, 0, 0, 0, 9}}                 // a fragment that is whole
	long := extension{60, append([]byte{1, 68}, make([]byte, 68)...)} // of 72 bytes
	for name, b := range map[string][]byte{
		"record route":     withIPv4Options(v4, []byte{7, 7, 4, 0, 0, 0, 0, 0}),
		"timestamps":       withIPv4Options(v4, []byte{68, 8, 5, 0, 0, 0, 0, 0}),
		"router alert":     withIPv4Options(v4, []byte{148, 4, 0, 0}),
		"unknown":          withIPv4Options(v4, []byte{1, 1, 222, 6, 1, 2, 3, 4}),
		"nothing but NOPs": withIPv4Options(v4, bytes.Repeat([]byte{1}, 40)),
		"an end":           withIPv4Options(v4, []byte{0, 131, 9, 9}), // what is behind it is none
		"hop by hop":       withExtensions(v6, hop),
		"destination":      withExtensions(v6, pad),
		"unknown option":   withExtensions(v6, unknown),
		"routing, used up": withExtensions(v6, routed),
		"atomic fragment":  withExtensions(v6, atomic),
		"all in order":     withExtensions(v6, hop, pad, routed, atomic, unknown),
		"long":             withExtensions(v6, long, long),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			u, err := r.stack.ListenPacket("udp", netip.AddrPortFrom(netip.Addr{}, 53), netip.AddrPort{})
			if err != nil {
				t.Fatal(err)
			}
			headers := len(b) - len(want)
			for _, l := range []layout{whole, {headers, []int{4096}}, {headers - 3, []int{50}}, {33, []int{9, 20, 4096}}, {4096, nil}} {
				r.deliver(b, l)
				if m, payload, _ := r.recv(u); m.Len != len(want) || !bytes.Equal(payload, want) {
					t.Fatalf("%+v: %d bytes, %+v", l, len(payload), m)
				}
			}
			r.wantDrops(nil)
			r.closeSocket(u)
			r.wantFree()
		})
	}
}

// Packets with a source route (RFC 7126, RFC 5095), too many headers, or an option
// that has to be understood are dropped, counted, and not answered.
func TestOptionsAreRefused(t *testing.T) {
	packet := func(a pair) []byte {
		return udpPacket(t, netip.AddrPortFrom(a.peer, 999), netip.AddrPortFrom(a.us, 53), pattern(5, 300))
	}
	v4, v6 := packet(pairs[0]), packet(pairs[1])
	pad := extension{60, []byte{1, 4, 0, 0, 0, 0}}
	many := make([]extension, wire.MaxExtensionHeaders+1)
	for i := range many {
		many[i] = pad
	}
	long := extension{60, append([]byte{1, 84}, make([]byte, 84)...)}
	for name, tt := range map[string]struct {
		cause string
		frame []byte
	}{
		"loose source route":       {"source-routed", withIPv4Options(v4, []byte{131, 7, 4, 192, 0, 2, 9, 0})},
		"strict source route":      {"source-routed", withIPv4Options(v4, []byte{1, 137, 7, 4, 192, 0, 2, 9})},
		"source route, used up":    {"source-routed", withIPv4Options(v4, []byte{131, 7, 8, 192, 0, 2, 9, 0})},
		"an option without length": {"bad-option", withIPv4Options(v4, []byte{1, 1, 1, 7})},
		"an option of length 0":    {"bad-option", withIPv4Options(v4, []byte{7, 0, 0, 0})},
		"an option that is longer": {"bad-option", withIPv4Options(v4, []byte{7, 5, 0, 0})},
		"segments left":            {"source-routed", withExtensions(v6, extension{43, []byte{4, 1, 0, 0, 0, 0}})},
		"type 0":                   {"source-routed", withExtensions(v6, extension{43, append([]byte{0, 1, 0, 0, 0, 0}, make([]byte, 16)...)})},
		"too many":                 {"bad-extension", withExtensions(v6, many...)},
		"too long":                 {"bad-extension", withExtensions(v6, long, long, long)},
		"hop by hop, not first":    {"bad-extension", withExtensions(v6, pad, extension{0, pad.rest})},
		"two routings":             {"bad-extension", withExtensions(v6, extension{43, []byte{4, 0, 0, 0, 0, 0}}, extension{43, []byte{4, 0, 0, 0, 0, 0}})},
		"fatal if unknown":         {"refused-option", withExtensions(v6, extension{60, []byte{0x9e, 4, 0, 0, 0, 0}})},
		"an option beyond the end": {"bad-option", withExtensions(v6, extension{60, []byte{5, 9, 0, 0, 0, 0}})},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for _, l := range []layout{whole, {40, []int{4096}}, {0, []int{7, 20, 4096}}, {4096, nil}} {
				if out := r.deliver(tt.frame, l); len(out) != 0 {
					t.Errorf("%+v: answered", l)
				}
			}
			r.wantDrops(map[string]uint64{tt.cause: 4})
			r.wantFree()
		})
	}
}

// TestHopLimit: Config.HopLimit is what packets of all protocols have (RFC 9293 section 3.9.2,
// MUST-49), and 64 if it is 0.
func TestHopLimit(t *testing.T) {
	for _, tt := range []struct{ config, want uint8 }{{0, 64}, {1, 1}, {255, 255}} {
		for _, p := range pairs {
			r := newRig(t, func(c *Config, _ *driver.Caps) { c.HopLimit = tt.config })
			out := r.deliver(pingPacket(t, p, []byte("x")), whole)
			out = append(out, r.deliver(tcpPacket(t, p.peer, p.us, wire.TCP{SrcPort: 1, DstPort: 2, Flags: wire.SYN}, nil), whole)...)
			u := mustListen(t, r.stack, "udp", netip.AddrPort{}, netip.AddrPortFrom(p.peer, 9))
			if err := u.Send.Write([]byte("x"), netip.AddrPort{}); err != nil {
				t.Fatal(err)
			}
			r.stack.SendDatagrams(u)
			out = append(out, r.deliverFrame()...)
			if len(out) != 3 {
				t.Fatalf("%d packets", len(out))
			}
			for _, b := range out {
				if got := parse(t, b).HopLimit; got != tt.want {
					t.Errorf("Config.HopLimit %d: %d in % x", tt.config, got, b)
				}
			}
			r.closeSocket(u)
		}
	}
}

//go:build linux

package gvnic

import (
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// ones is a mask for an address.
var ones = [16]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}

// portRule sends TCP to a destination port to a queue.
func portRule(location uint32, port, queue uint16, v6 bool) flowRule {
	r := flowRule{location: location, kind: flowTCPv4, queue: queue}
	if v6 {
		r.kind = flowTCPv6
	}
	be.PutUint16(r.key.ports[2:], port)
	be.PutUint16(r.mask.ports[2:], 0xffff)
	return r
}

// TestFlowMatch: each field of a rule counts, as far as its mask goes, and no
// other kind of packet matches.
func TestFlowMatch(t *testing.T) {
	base := map[string]spec{
		"TCPv4": {}, "TCPv6": {v6: true},
		"UDPv4": {proto: wire.ProtoUDP}, "UDPv6": {v6: true, proto: wire.ProtoUDP},
		"SCTPv4": {proto: protoSCTP}, "SCTPv6": {v6: true, proto: protoSCTP},
		"AHv4": {proto: protoAH, payload: make([]byte, 8)}, "ESPv6": {v6: true, proto: protoESP},
	}
	for name, s := range base {
		s.tos = 0x2c
		p := parse(s.frame(t), wire.Verify)
		kind, key, ok := p.flowKey()
		if !ok {
			t.Fatalf("%s has no key", name)
		}
		full := flowRule{kind: kind, queue: 3, key: key, mask: flowSpec{src: ones, dst: ones, ports: [4]byte(ones[:4]), tos: 0xff}}
		check := func(what string, r flowRule, want bool) {
			t.Helper()
			q, ok := flowTable{r}.lookup(&p)
			if ok != want || ok && q != 3 {
				t.Errorf("%s, %s: queue %d, %v", name, what, q, ok)
			}
		}
		check("all fields", full, true)
		check("no field", flowRule{kind: kind, queue: 3}, true)
		for what, change := range map[string]func(*flowSpec){
			"source": func(s *flowSpec) { s.src[3] ^= 1 }, "destination": func(s *flowSpec) { s.dst[0] ^= 0x80 },
			"first port": func(s *flowSpec) { s.ports[1] ^= 1 }, "second port": func(s *flowSpec) { s.ports[2] ^= 1 },
			"TOS": func(s *flowSpec) { s.tos ^= 4 },
		} {
			r := full
			change(&r.key)
			check("other "+what, r, false)
			change(&r.mask) // that bit does not count
			check("other "+what+", masked", r, true)
		}
		for other := range uint16(numFlowTypes) {
			if other != kind {
				r := full
				r.kind = other
				check("another type", r, false)
			}
		}
	}
	for name, f := range map[string][]byte{"ICMP": spec{proto: wire.ProtoICMP}.frame(t), "nothing": make([]byte, 64)} {
		p := parse(f, wire.Verify)
		for kind := range uint16(numFlowTypes) {
			if _, ok := (flowTable{{kind: kind}}).lookup(&p); ok {
				t.Errorf("%s matches a rule of type %d", name, kind)
			}
		}
	}
}

// TestFlowPriority: the rule at the lowest location wins; adding at a location
// replaces, and deleting uncovers.
func TestFlowPriority(t *testing.T) {
	var table flowTable
	p := parse(spec{dport: 80}.frame(t), wire.Verify)
	expect := func(want int) {
		t.Helper()
		q, ok := table.lookup(&p)
		if ok != (want >= 0) || ok && int(q) != want {
			t.Errorf("queue %d, %v; want %d", q, ok, want)
		}
	}
	expect(-1)
	table.put(portRule(9, 80, 1, false))
	expect(1)
	table.put(portRule(3, 80, 2, false))
	expect(2)
	table.put(portRule(5, 80, 3, false))
	table.put(portRule(0, 81, 4, false))
	expect(2)
	table.put(portRule(3, 80, 5, false))
	expect(5)
	if len(table) != 4 {
		t.Errorf("%d rules, want 4", len(table))
	}
	if !table.remove(3) || table.remove(3) {
		t.Error("remove")
	}
	expect(3)
	for _, l := range []uint32{5, 9, 0} {
		table.remove(l)
	}
	expect(-1)
}

// TestFlowBytes: a rule's layout is the driver's, struct gve_adminq_flow_rule.
func TestFlowBytes(t *testing.T) {
	b := make([]byte, flowRuleSize)
	be.PutUint16(b[0:], flowUDPv6)
	be.PutUint16(b[2:], 7)
	addr := netip.MustParseAddr("2001:db8::5").As16()
	copy(b[4:], addr[:])             // key.src_ip
	copy(b[20:], []byte{1, 2, 3, 4}) // key.dst_ip
	be.PutUint16(b[36:], 1000)       // key.src_port
	be.PutUint16(b[38:], 2000)       // key.dst_port
	b[40] = 0x10                     // key.tclass
	copy(b[44:], ones[:])            // mask.src_ip
	be.PutUint16(b[78:], 0xfff0)     // mask.dst_port
	b[80] = 0xff                     // mask.tclass
	var r flowRule
	r.read(b)
	want := flowRule{kind: flowUDPv6, queue: 7,
		key:  flowSpec{src: addr, dst: [16]byte{1, 2, 3, 4}, ports: [4]byte{0x03, 0xe8, 0x07, 0xd0}, tos: 0x10},
		mask: flowSpec{src: ones, ports: [4]byte{2: 0xff, 3: 0xf0}, tos: 0xff}}
	if r != want {
		t.Errorf("read %+v, want %+v", r, want)
	}
	out := make([]byte, flowRuleSize)
	r.write(out)
	if string(out) != string(b) {
		t.Errorf("written %x, want %x", out, b)
	}
}

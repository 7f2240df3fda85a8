//go:build linux

package gvnic

import (
	"slices"

	"github.com/zctap/zctap/internal/wire"
)

// Types of flows (gve_adminq_flow_type).
const (
	flowTCPv4 = iota
	flowUDPv4
	flowSCTPv4
	flowAHv4
	flowESPv4
	flowTCPv6
	flowUDPv6
	flowSCTPv6
	flowAHv6
	flowESPv6
	numFlowTypes
)

// Sizes in bytes of struct gve_flow_spec, with its padding, and of struct
// gve_adminq_flow_rule.
const (
	flowSpecSize = 40
	flowRuleSize = 4 + 2*flowSpecSize
)

// A flowSpec is a key or a mask: struct gve_flow_spec. IPv4 addresses take the
// first four bytes. ports are source and destination port, or the SPI.
type flowSpec struct {
	src, dst [16]byte
	ports    [4]byte
	tos      byte
}

func (s *flowSpec) read(b []byte) {
	s.src, s.dst = [16]byte(b[0:]), [16]byte(b[16:])
	s.ports, s.tos = [4]byte(b[32:]), b[36]
}

func (s *flowSpec) write(b []byte) {
	copy(b[0:], s.src[:])
	copy(b[16:], s.dst[:])
	copy(b[32:], s.ports[:])
	b[36] = s.tos
}

// A flowRule sends the flows that match to one queue: struct
// gve_adminq_flow_rule.
type flowRule struct {
	location  uint32
	kind      uint16
	queue     uint16
	key, mask flowSpec
}

// read takes a rule from flowRuleSize bytes.
func (r *flowRule) read(b []byte) {
	r.kind, r.queue = be.Uint16(b), be.Uint16(b[2:])
	r.key.read(b[4:])
	r.mask.read(b[4+flowSpecSize:])
}

// write is the counterpart of read.
func (r *flowRule) write(b []byte) {
	be.PutUint16(b, r.kind)
	be.PutUint16(b[2:], r.queue)
	r.key.write(b[4:])
	r.mask.write(b[4+flowSpecSize:])
}

// flowKey is what rules are compared with, and the type of rules that apply to
// the packet; ok is false if none can.
func (p *packet) flowKey() (kind uint16, k flowSpec, ok bool) {
	switch p.proto() {
	case wire.ProtoTCP:
		kind = flowTCPv4
	case wire.ProtoUDP:
		kind = flowUDPv4
	case protoSCTP:
		kind = flowSCTPv4
	case protoAH:
		kind = flowAHv4
	case protoESP:
		kind = flowESPv4
	default:
		return 0, k, false
	}
	if kind == flowAHv4 || kind == flowESPv4 {
		be.PutUint32(k.ports[:], p.spi)
	} else {
		be.PutUint16(k.ports[0:], p.src)
		be.PutUint16(k.ports[2:], p.dst)
	}
	appendAddr(k.src[:0], p.ip.Src)
	appendAddr(k.dst[:0], p.ip.Dst)
	k.tos = p.ip.TrafficClass
	if p.ip.Version == 6 {
		kind += flowTCPv6 - flowTCPv4
	}
	return kind, k, true
}

// matches reports whether k agrees with the rule wherever its mask has a bit.
func (r *flowRule) matches(k *flowSpec) bool {
	d := (k.tos ^ r.key.tos) & r.mask.tos
	for i := range k.ports {
		d |= (k.ports[i] ^ r.key.ports[i]) & r.mask.ports[i]
	}
	for i := range k.src {
		d |= (k.src[i]^r.key.src[i])&r.mask.src[i] | (k.dst[i]^r.key.dst[i])&r.mask.dst[i]
	}
	return d == 0
}

// flowTable is the device's rules, in the order of their locations, which is
// that of their priority.
type flowTable []flowRule

func (t flowTable) find(location uint32) (int, bool) {
	return slices.BinarySearchFunc(t, location, func(r flowRule, l uint32) int {
		switch {
		case r.location < l:
			return -1
		case r.location > l:
			return 1
		}
		return 0
	})
}

// put adds a rule, or replaces the one at its location (ethtool.h:
// ETHTOOL_SRXCLSRLINS gives "the rule to add or update").
func (t *flowTable) put(r flowRule) {
	i, found := t.find(r.location)
	if found {
		(*t)[i] = r
		return
	}
	*t = slices.Insert(*t, i, r)
}

// remove deletes the rule at a location and reports whether there was one.
func (t *flowTable) remove(location uint32) bool {
	i, found := t.find(location)
	if found {
		*t = slices.Delete(*t, i, i+1)
	}
	return found
}

// lookup finds the queue for a packet: that of the first rule that matches.
func (t flowTable) lookup(p *packet) (queue uint16, ok bool) {
	if len(t) == 0 {
		return 0, false
	}
	kind, k, ok := p.flowKey()
	if !ok {
		return 0, false
	}
	for i := range t {
		if t[i].kind == kind && t[i].matches(&k) {
			return t[i].queue, true
		}
	}
	return 0, false
}

//go:build linux

package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Match is what a flow rule of ours matches: a protocol over one IP version,
// and the destination's port and, unless Addr is the zero one, address.
type Match struct {
	Proto Proto      `json:"proto"`
	IPv6  bool       `json:"ipv6,omitempty"`
	Addr  netip.Addr `json:"addr,omitzero"`
	Port  uint16     `json:"port"`
}

// String returns such as "tcp4 port 9000" or "udp6 fd00::1 port 53".
func (m Match) String() string {
	s := m.Proto.String() + "4"
	if m.IPv6 {
		s = m.Proto.String() + "6"
	}
	if m.Addr.IsValid() {
		s += " " + m.Addr.String()
	}
	return fmt.Sprintf("%s port %d", s, m.Port)
}

// overlaps reports whether packets can match both.
func (m Match) overlaps(o Match) bool {
	return m.Proto == o.Proto && m.IPv6 == o.IPv6 && m.Port == o.Port &&
		(m.Addr == o.Addr || !m.Addr.IsValid() || !o.Addr.IsValid())
}

// Rule is a flow rule: struct ethtool_rx_flow_spec, of which it keeps what
// rules of ours have.
type Rule struct {
	Location uint32 `json:"location"`
	Match    Match  `json:"match"`
	// Exact is set if the rule matches Match and looks at nothing else. If it
	// is not, Match means nothing.
	Exact bool `json:"exact"`
	// Queue is where packets go, or -1 if they are dropped or go to a virtual
	// function. With a context it is added to the queue of the context's table.
	Queue   int     `json:"queue"`
	Context *uint32 `json:"context,omitempty"` // nil: to the queue
}

// same reports whether two rules do the same, wherever they are.
func (r Rule) same(o Rule) bool {
	if (r.Context == nil) != (o.Context == nil) || r.Context != nil && *r.Context != *o.Context {
		return false
	}
	return r.Exact && o.Exact && r.Match == o.Match && r.Queue == o.Queue
}

// reaches reports whether a rule sends packets to a queue.
func (r Rule) reaches(queue int, contexts []RSS) bool {
	if r.Context == nil {
		return r.Queue == queue
	}
	for _, c := range contexts {
		if c.Context == *r.Context {
			return c.Uses(queue - max(r.Queue, 0))
		}
	}
	return false // the interface's own context, 0, is looked at on its own
}

func (r Rule) String() string {
	s := "other packets"
	if r.Exact {
		s = r.Match.String()
	}
	switch {
	case r.Context != nil:
		return fmt.Sprintf("%s to context %d", s, *r.Context)
	case r.Queue < 0:
		return s + " dropped or to a virtual function"
	}
	return fmt.Sprintf("%s to queue %d", s, r.Queue)
}

// RuleTable are the flow rules of an interface.
type RuleTable struct {
	// Size is how many locations there are, 0 if the driver does not say.
	Size uint32 `json:"size"`
	// DriverPlaces is set if the driver chooses the locations, not the caller.
	DriverPlaces bool   `json:"driver_places,omitempty"`
	Rules        []Rule `json:"rules,omitempty"`
}

// at returns the rule at a location.
func (t RuleTable) at(location uint32) (Rule, bool) {
	for _, r := range t.Rules {
		if r.Location == location {
			return r, true
		}
	}
	return Rule{}, false
}

// maxReserved is the most locations that are kept for rules of ours.
const maxReserved = 256

// Reserved is the range of locations [from, to) in which all rules of ours are,
// so that what a killed process left can be told from other people's. People
// who choose locations start from 0, and the ethtool command from the end: so
// it is in between, and half of the table at most.
func (t RuleTable) Reserved() (from, to uint32) {
	if t.Size < 8 {
		return 0, t.Size
	}
	return t.Size / 4, t.Size/4 + min(t.Size/2, maxReserved)
}

// place returns a free location in the reserved range, or anyLocation if it is
// the driver that places.
func (t RuleTable) place() (uint32, bool) {
	if t.DriverPlaces {
		return anyLocation, true
	}
	from, to := t.Reserved()
	for location := from; location < to; location++ {
		if _, taken := t.at(location); !taken {
			return location, true
		}
	}
	return 0, false
}

// struct ethtool_rxnfc, and in it struct ethtool_rx_flow_spec (linux/ethtool.h).
const (
	rxnfcData      = 8
	rxnfcSpec      = 16
	rxnfcRuleCount = 184 // rss_context in the same place
	rxnfcRuleLocs  = 188
	rxnfcLen       = 192

	specType     = rxnfcSpec
	specValues   = rxnfcSpec + 4
	specExtra    = rxnfcSpec + 56
	specMasks    = rxnfcSpec + 76
	specExtraM   = rxnfcSpec + 128
	specCookie   = rxnfcSpec + 152
	specLocation = rxnfcSpec + 160
	specUnion    = 52 // bytes of values, and of masks
	specExtraLen = 20

	flowTCP4, flowUDP4 = 1, 2 // TCP_V4_FLOW, UDP_V4_FLOW
	flowTCP6, flowUDP6 = 5, 6 // TCP_V6_FLOW, UDP_V6_FLOW
	flowRSS            = 0x20000000
	flowFlags          = 0xe0000000 // FLOW_EXT, FLOW_MAC_EXT, FLOW_RSS

	// struct ethtool_tcpip4_spec and ethtool_tcpip6_spec, in values and masks.
	tcp4Dst, tcp4DstPort = 4, 10
	tcp6Dst, tcp6DstPort = 16, 34

	anyLocation     = 0xffffffff // RX_CLS_LOC_ANY
	locationSpecial = 0x80000000 // RX_CLS_LOC_SPECIAL
	cookieRingMask  = 0xffffffff // ETHTOOL_RX_FLOW_SPEC_RING

	maxRules = 1 << 16 // read at most; the largest table known has 8192
)

var flowTypes = map[uint32]Match{
	flowTCP4: {Proto: TCP}, flowUDP4: {Proto: UDP},
	flowTCP6: {Proto: TCP, IPv6: true}, flowUDP6: {Proto: UDP, IPv6: true},
}

// encodeRule makes the argument of ETHTOOL_SRXCLSRLINS.
func encodeRule(r Rule) []byte {
	b := make([]byte, rxnfcLen)
	binary.NativeEndian.PutUint32(b, unix.ETHTOOL_SRXCLSRLINS)
	typ := uint32(0)
	for t, m := range flowTypes {
		if m.Proto == r.Match.Proto && m.IPv6 == r.Match.IPv6 {
			typ = t
		}
	}
	dst, port := tcp4Dst, tcp4DstPort
	if r.Match.IPv6 {
		dst, port = tcp6Dst, tcp6DstPort
	}
	binary.BigEndian.PutUint16(b[specValues+port:], r.Match.Port)
	binary.BigEndian.PutUint16(b[specMasks+port:], 0xffff)
	if addr := r.Match.Addr.AsSlice(); addr != nil {
		copy(b[specValues+dst:], addr)
		for i := range addr {
			b[specMasks+dst+i] = 0xff
		}
	}
	cookie := uint64(r.Queue)
	if r.Context != nil {
		typ |= flowRSS
		binary.NativeEndian.PutUint32(b[rxnfcRuleCount:], *r.Context)
	}
	binary.NativeEndian.PutUint32(b[specType:], typ)
	binary.NativeEndian.PutUint64(b[specCookie:], cookie)
	binary.NativeEndian.PutUint32(b[specLocation:], r.Location)
	return b
}

// decodeRule reads what ETHTOOL_GRXCLSRULE answers.
func decodeRule(b []byte) Rule {
	r := Rule{Location: binary.NativeEndian.Uint32(b[specLocation:]), Queue: -1}
	if cookie := binary.NativeEndian.Uint64(b[specCookie:]); cookie <= cookieRingMask {
		r.Queue = int(cookie)
	}
	typ := binary.NativeEndian.Uint32(b[specType:])
	if typ&flowRSS != 0 {
		context := binary.NativeEndian.Uint32(b[rxnfcRuleCount:])
		r.Context = &context
	}
	m, ours := flowTypes[typ&^flowFlags]
	if !ours || typ&flowFlags&^flowRSS != 0 {
		return r
	}
	dst, n, port := tcp4Dst, 4, tcp4DstPort
	if m.IPv6 {
		dst, n, port = tcp6Dst, 16, tcp6DstPort
	}
	masks := slices.Clone(b[specMasks : specMasks+specUnion])
	if !allBytes(masks[port:port+2], 0xff) {
		return r
	}
	m.Port = binary.BigEndian.Uint16(b[specValues+port:])
	switch mask := masks[dst : dst+n]; {
	case allBytes(mask, 0xff):
		m.Addr, _ = netip.AddrFromSlice(b[specValues+dst : specValues+dst+n])
	case !allBytes(mask, 0):
		return r
	}
	clear(masks[port : port+2])
	clear(masks[dst : dst+n])
	r.Exact = allBytes(masks, 0)
	if r.Exact {
		r.Match = m
	}
	return r
}

func allBytes(b []byte, v byte) bool {
	return !slices.ContainsFunc(b, func(one byte) bool { return one != v })
}

// rxnfc carries out a command on flow rules that needs no specification.
func (d *kernelDevice) rxnfc(what string, cmd uint32, b []byte) error {
	binary.NativeEndian.PutUint32(b, cmd)
	return d.ethtoolIoctl(what, b)
}

func (d *kernelDevice) rules() (RuleTable, error) {
	b := make([]byte, rxnfcLen)
	if err := d.rxnfc("ETHTOOL_GRXCLSRLCNT", unix.ETHTOOL_GRXCLSRLCNT, b); err != nil {
		return RuleTable{}, err
	}
	n, data := binary.NativeEndian.Uint32(b[rxnfcRuleCount:]), binary.NativeEndian.Uint64(b[rxnfcData:])
	t := RuleTable{Size: uint32(data) &^ locationSpecial, DriverPlaces: data&locationSpecial != 0}
	if n > maxRules {
		return t, fmt.Errorf("ETHTOOL_GRXCLSRLCNT: %d rules: %w", n, unix.EBADMSG)
	}
	b = make([]byte, rxnfcLen+4*n)
	binary.NativeEndian.PutUint32(b[rxnfcRuleCount:], n)
	if err := d.rxnfc("ETHTOOL_GRXCLSRLALL", unix.ETHTOOL_GRXCLSRLALL, b); err != nil {
		return t, err
	}
	if data := binary.NativeEndian.Uint64(b[rxnfcData:]); data != 0 { // mlx5 says so only here
		t.Size = uint32(data) &^ locationSpecial
	}
	n = min(n, binary.NativeEndian.Uint32(b[rxnfcRuleCount:])) // there may be fewer by now
	locations := attr{value: b[rxnfcRuleLocs : rxnfcRuleLocs+4*n]}.u32s()
	for _, location := range locations {
		r, err := d.rule(location)
		switch {
		case errors.Is(err, unix.ENOENT):
			continue // deleted since
		case errors.Is(err, unix.EINVAL):
			// gve's answer for ENOENT, and for what it cannot describe.
			r = Rule{Location: location, Queue: -1}
		case err != nil:
			return t, err
		}
		t.Rules = append(t.Rules, r)
	}
	return t, nil
}

func (d *kernelDevice) rule(location uint32) (Rule, error) {
	b := make([]byte, rxnfcLen)
	binary.NativeEndian.PutUint32(b[specLocation:], location)
	if err := d.rxnfc("ETHTOOL_GRXCLSRULE", unix.ETHTOOL_GRXCLSRULE, b); err != nil {
		return Rule{}, err
	}
	return decodeRule(b), nil
}

func (d *kernelDevice) insertRule(r Rule) (uint32, error) {
	b := encodeRule(r)
	if err := d.ethtoolIoctl("ETHTOOL_SRXCLSRLINS", b); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint32(b[specLocation:]), nil
}

func (d *kernelDevice) deleteRule(location uint32) error {
	b := make([]byte, rxnfcLen)
	binary.NativeEndian.PutUint32(b[specLocation:], location)
	return d.rxnfc("ETHTOOL_SRXCLSRLDEL", unix.ETHTOOL_SRXCLSRLDEL, b)
}

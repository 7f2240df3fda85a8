//go:build linux

package gvnic

import (
	"net/netip"

	"github.com/zctap/zctap/internal/wire"
)

// Sizes of the RSS configuration (gve.h, GVE_RSS_KEY_SIZE and
// GVE_RSS_INDIR_SIZE), in bytes and entries.
const (
	rssKeySize   = 40
	rssTableSize = 128
	rssToeplitz  = 1 // hash_alg: ETH_RSS_HASH_TOP
)

// What is hashed of which packets, as bits of hash_types (gve_rss_hash_type).
const (
	hashIPv4 = 1 << iota
	hashTCPv4
	hashIPv6
	hashIPv6Ex
	hashTCPv6
	hashTCPv6Ex
	hashUDPv4
	hashUDPv6
	hashUDPv6Ex

	hashAll = 1<<iota - 1
)

// rssConfig is how received packets are spread over the queues.
type rssConfig struct {
	types uint16
	key   [rssKeySize]byte
	table [rssTableSize]uint32 // queue ids
}

// defaultRSS spreads over queues, with the key of the hash's specification.
func defaultRSS(queues int) rssConfig {
	c := rssConfig{types: hashTCPv4 | hashUDPv4 | hashTCPv6 | hashUDPv6 | hashIPv4 | hashIPv6, key: microsoftKey}
	for i := range c.table {
		c.table[i] = uint32(i % queues)
	}
	return c
}

// microsoftKey is the key of "Verifying the RSS Hash Calculation" in the
// documentation of Windows' network drivers, for which test vectors exist.
var microsoftKey = [rssKeySize]byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
	0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
	0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

// toeplitz is the hash of input, up to 36 bytes: the sum modulo 2 of the 32 bits
// of the key that begin at each position of a bit that is set in the input.
func toeplitz(key *[rssKeySize]byte, input []byte) uint32 {
	var hash uint32
	window := be.Uint32(key[:])
	for i, b := range input {
		next := key[i+4]
		for bit := 7; bit >= 0; bit-- {
			if b>>bit&1 != 0 {
				hash ^= window
			}
			window = window<<1 | uint32(next>>bit&1)
		}
	}
	return hash
}

// hash is the packet's RSS hash: over addresses and ports if the type of packet
// is one of which ports are hashed, else over the addresses, else 0.
func (c *rssConfig) hash(p *packet) (h uint32, ok bool) {
	if p.l3 == 0 {
		return 0, false
	}
	var ports, addrs uint16 = 0, hashIPv4
	switch p.proto() {
	case wire.ProtoTCP:
		ports = hashTCPv4
	case wire.ProtoUDP:
		ports = hashUDPv4
	}
	if p.ip.Version == 6 {
		addrs = hashIPv6
		switch ports {
		case hashTCPv4:
			ports = hashTCPv6
		case hashUDPv4:
			ports = hashUDPv6
		}
	}
	if c.types&(ports|addrs) == 0 {
		return 0, false
	}
	var b [36]byte
	in := appendAddr(appendAddr(b[:0], p.ip.Src), p.ip.Dst)
	if c.types&ports != 0 {
		in = be.AppendUint16(be.AppendUint16(in, p.src), p.dst)
	}
	return toeplitz(&c.key, in), true
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return append(b, v[:]...)
	}
	v := a.As16()
	return append(b, v[:]...)
}

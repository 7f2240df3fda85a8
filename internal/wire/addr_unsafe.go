package wire

import (
	"encoding/binary"
	"net/netip"
	"unsafe"
)

// words are the 16 bytes of an address, or the 4 of an IPv4 address behind the 12 that map it
// into IPv6, as two numbers in network byte order.
//
// netip gives them as an array only, which is stored by words and then loaded by vectors:
// that waits for the stores, 3 to 6 ns each time. The words are what an Addr begins with. That
// is promised nowhere; so it is looked at once whether it is so, and if not, the array serves.
func words(a netip.Addr) (hi, lo uint64) {
	if wordsFirst {
		w := (*[2]uint64)(unsafe.Pointer(&a))
		return w[0], w[1]
	}
	return wordsOfArray(a)
}

// endWords is words of an end's address, which is read where it lies: of a copy it would be read behind
// the stores that made it.
func endWords(e *netip.AddrPort) (hi, lo uint64) {
	if wordsFirst {
		w := (*[2]uint64)(unsafe.Pointer(e))
		return w[0], w[1]
	}
	return wordsOfArray(e.Addr())
}

func wordsOfArray(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// wordsFirst reports whether an Addr begins with its two words, and an AddrPort with its Addr.
var wordsFirst = beginsWithWords()

func beginsWithWords() bool {
	if unsafe.Sizeof(netip.Addr{}) < 16 || unsafe.Alignof(netip.Addr{}) < unsafe.Alignof(uint64(0)) ||
		unsafe.Sizeof(netip.AddrPort{}) < 16 || unsafe.Alignof(netip.AddrPort{}) < unsafe.Alignof(uint64(0)) {
		return false
	}
	for _, a := range []netip.Addr{
		{}, netip.IPv6Unspecified(), netip.IPv4Unspecified(),
		netip.AddrFrom4([4]byte{0x81, 0x92, 0xa3, 0xb4}),
		netip.AddrFrom16([16]byte{0x81, 0x92, 0xa3, 0xb4, 0xc5, 0xd6, 0xe7, 0xf8, 0x19, 0x2a, 0x3b, 0x4c, 0x5d, 0x6e, 0x7f, 0x80}),
	} {
		hi, lo := wordsOfArray(a)
		if w := (*[2]uint64)(unsafe.Pointer(&a)); w[0] != hi || w[1] != lo {
			return false
		}
		e := netip.AddrPortFrom(a, 0x5a6b)
		if w := (*[2]uint64)(unsafe.Pointer(&e)); w[0] != hi || w[1] != lo {
			return false
		}
	}
	return true
}

package wire

import (
	"encoding/binary"
	"math/bits"
)

// Sum accumulates the Internet checksum (RFC 1071) of bytes that may lie in several
// slices: the ones' complement sum of the 16-bit words of their concatenation. A
// slice of odd length may come anywhere; Sum remembers that the next one starts in
// the middle of a word. The zero Sum is empty and ready to use.
type Sum struct {
	// acc is a ones' complement sum of little-endian 64-bit words. It is congruent
	// modulo 0xffff to the byte-swapped sum of network-order words, for 2^16 is 1
	// there (RFC 1071 section 2, B: the sum does not depend on the byte order).
	acc uint64
	// odd tells that an odd number of bytes has been added.
	odd bool
}

// Add appends b to the bytes summed so far.
func (s *Sum) Add(b []byte) {
	var n uint64
	rest := b
	if vectors && len(b) >= vectorMin {
		whole := len(b) &^ (vectorLen - 1)
		n, rest = sumVectors(b[:whole]), b[whole:]
	}
	n = sumWords(n, rest)
	if s.odd {
		// The bytes of b take the other half of each word: a factor of 2^8, which
		// modulo 2^64-1 is a rotation.
		n = bits.RotateLeft64(n, 8)
	}
	s.addWord(n)
	s.odd = s.odd != (len(b)&1 != 0)
}

// addWord adds a word that already has the byte order and the parity of acc.
func (s *Sum) addWord(n uint64) {
	acc, carry := bits.Add64(s.acc, n, 0)
	s.acc = acc + carry // cannot overflow: acc is at most 2^64-2 if there is a carry
}

// Fold returns the ones' complement sum, as the value that the two bytes have in
// network order. It is 0 only if every byte added was 0.
func (s Sum) Fold() uint16 {
	v := s.acc>>32 + s.acc&0xffffffff
	v = v>>32 + v&0xffffffff
	v = v>>16 + v&0xffff
	v = v>>16 + v&0xffff
	return bits.ReverseBytes16(uint16(v))
}

// Checksum returns the complement of Fold: what goes into a checksum field that
// was zero when it was added.
func (s Sum) Checksum() uint16 { return ^s.Fold() }

// Valid reports whether the bytes added, their checksum field included, sum up as
// they must at a receiver.
func (s Sum) Valid() bool { return s.Fold() == 0xffff }

const (
	// vectorLen is what sumVectors takes at a time, in bytes.
	vectorLen = 32
	// vectorMin is the length from which sumVectors is the faster one: its call and
	// the folding of its lanes take as long as sumWords takes for so much.
	vectorMin = 128
)

// sumWords adds b to acc, both ones' complement sums of little-endian 64-bit words,
// the last one of b padded with zeros.
func sumWords(acc uint64, b []byte) uint64 {
	var c uint64
	// Each step's carry goes into the next addition, for the compiler makes one
	// chain of add-with-carry instructions of it.
	for len(b) >= 64 {
		w := b[:64:64]
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[0:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[8:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[16:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[24:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[32:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[40:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[48:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[56:]), c)
		b = b[64:]
	}
	// What is left, by the bits of its length: a loop would have to keep the carry.
	if len(b)&32 != 0 {
		w := b[:32:32]
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[0:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[8:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[16:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[24:]), c)
		b = b[32:]
	}
	if len(b)&16 != 0 {
		w := b[:16:16]
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[0:]), c)
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(w[8:]), c)
		b = b[16:]
	}
	if len(b)&8 != 0 {
		acc, c = bits.Add64(acc, binary.LittleEndian.Uint64(b), c)
		b = b[8:]
	}
	var tail uint64
	n := len(b)
	if n&4 != 0 {
		tail = uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if n&2 != 0 {
		tail |= uint64(binary.LittleEndian.Uint16(b)) << (8 * (n & 4))
		b = b[2:]
	}
	if n&1 != 0 {
		tail |= uint64(b[0]) << (8 * (n & 6))
	}
	acc, c = bits.Add64(acc, tail, c)
	return acc + c // cannot overflow: tail is below 2^56
}

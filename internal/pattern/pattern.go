// Package pattern makes test streams whose every byte depends on its position,
// fast enough to check gigabytes a second: what the demo, recv --pattern and the
// tests verify with.
//
// A stream is blocks of 4 KiB. Each begins with 8 bytes that mix the block's
// number and the seed, so that a block which is missing, doubled or in another's
// place is seen; the rest comes from a random table of 1 MiB that the seed
// makes, so that shifted or changed bytes are.
package pattern

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
)

const (
	block     = 4096
	stamp     = 8
	tableSize = 1 << 20
)

// A Pattern is the stream of one seed. It is read-only and may be shared.
type Pattern struct {
	seed  uint64
	table []byte // tableSize bytes: block i's body is at i*block modulo that
}

// New makes the stream of a seed.
func New(seed uint64) *Pattern {
	p := &Pattern{seed: seed, table: make([]byte, tableSize)}
	rng := rand.New(rand.NewPCG(seed, 0x7a63746170))
	for i := 0; i < len(p.table); i += 8 {
		binary.LittleEndian.PutUint64(p.table[i:], rng.Uint64())
	}
	return p
}

// stampOf is the first bytes of block n: a bijection of n (the finalizer of
// splitmix64), so that no two blocks of a stream have the same.
func (p *Pattern) stampOf(n uint64) (s [stamp]byte) {
	x := n + p.seed
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	binary.LittleEndian.PutUint64(s[:], x^x>>31)
	return s
}

// pieces calls f with each piece of the stream from off on, n bytes in all, in
// order, until f returns false. want is valid during the call.
func (p *Pattern) pieces(off int64, n int, f func(want []byte) bool) {
	for n > 0 {
		in := int(off % block)
		s := p.stampOf(uint64(off / block))
		want := s[min(in, stamp):]
		if in >= stamp {
			at := int(off % tableSize)
			want = p.table[at : at+block-in]
		}
		want = want[:min(n, len(want))]
		if !f(want) {
			return
		}
		off += int64(len(want))
		n -= len(want)
	}
}

// Fill writes the stream from off on into dst.
func (p *Pattern) Fill(dst []byte, off int64) {
	p.pieces(off, len(dst), func(want []byte) bool {
		dst = dst[copy(dst, want):]
		return true
	})
}

// Mismatches is the number of bytes of b that differ from the stream from off
// on.
func (p *Pattern) Mismatches(b []byte, off int64) (bad int) {
	p.pieces(off, len(b), func(want []byte) bool {
		got := b[:len(want)]
		b = b[len(want):]
		if !bytes.Equal(got, want) {
			for i := range got {
				if got[i] != want[i] {
					bad++
				}
			}
		}
		return true
	})
	return bad
}

// Reader reads the stream's first n bytes.
func (p *Pattern) Reader(n int64) io.Reader { return &reader{p: p, n: n} }

type reader struct {
	p      *Pattern
	off, n int64
}

func (r *reader) Read(b []byte) (int, error) {
	if r.off == r.n {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), r.n-r.off)]
	r.p.Fill(b, r.off)
	r.off += int64(len(b))
	return len(b), nil
}

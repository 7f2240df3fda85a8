package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// checkVectors holds Sum.Add of b, which may take vectors, against sumWords. They are
// equal, for of what is the same modulo 2^64-1 both have what is not 0, unless every
// byte is.
func checkVectors(t *testing.T, b []byte) {
	t.Helper()
	if got, want := sumOf(b).acc, sumWords(0, b); got != want {
		t.Fatalf("%d bytes: %#x by vectors, want %#x", len(b), got, want)
	}
}

// checkSum is checkVectors, and holds Sum.Add of b against slow.
func checkSum(t *testing.T, b []byte) {
	t.Helper()
	checkVectors(t, b)
	if got, want := sumOf(b).Fold(), slowSum(b); got != want {
		t.Fatalf("%d bytes: %#04x, want %#04x", len(b), got, want)
	}
}

// A lane overflows at every addition, or is one below it, or has but one half.
func TestSumCarriesInLanes(t *testing.T) {
	for _, word := range []string{
		"ffff ffff ffff ffff", "feff ffff ffff ffff", "0000 0000 ffff ffff", "ffff ffff 0000 0000",
		"0000 0000 0000 0080", "0000 0080 0000 0000", "0100 0000 0000 0000",
	} {
		all := bytes.Repeat(unhex(t, word), 1<<20/8)
		for _, n := range []int{vectorMin - 1, vectorMin, 1448, 65535} {
			checkSum(t, all[:n])
		}
		checkVectors(t, all)
	}
	// The carry when both halves are put together.
	b := bytes.Repeat(unhex(t, "ffff ffff 0000 0000"), 1448/8)
	for i := 4; i < len(b); i += 8 {
		copy(b[i:], "\xff\xff\xff\xff")
		checkSum(t, b)
		clear(b[i : i+4])
	}
}

// One byte that is not zero, at each place: none is left out, or taken twice.
func TestSumTakesEachByte(t *testing.T) {
	b := make([]byte, 3*128+vectorLen+31)
	for i := range b {
		b[i] = 0xa5
		want := uint16(0xa500)
		if i%2 != 0 {
			want = 0xa5
		}
		for n := i + 1; n <= len(b); n++ {
			if got := sumOf(b[:n]).Fold(); got != want {
				t.Fatalf("byte %d of %d: %#04x, want %#04x", i, n, got, want)
			}
		}
		b[i] = 0
	}
}

// What had been added before counts, wherever in a word b starts.
func TestSumFromAnyState(t *testing.T) {
	data := sumPatterns(1449)["random"]
	for _, acc := range []uint64{0, 1, 1<<64 - 2, 1<<64 - 1, 0x0123456789abcdef} {
		for _, odd := range []bool{false, true} {
			var before slow // the eight bytes that acc is, from the first
			for i := range 8 {
				before.add(byte(acc >> (8 * i)))
			}
			before.odd = odd
			for _, n := range []int{0, 1, 31, vectorMin, 1447, 1448, 1449} {
				s, want := Sum{acc: acc, odd: odd}, before
				s.Add(data[:n])
				s.Add(data[:7])
				for _, v := range append(bytes.Clone(data[:n]), data[:7]...) {
					want.add(v)
				}
				if got := s.Fold(); got != want.sum() {
					t.Fatalf("%#x, odd %v, and %d bytes: %#04x, want %#04x", acc, odd, n, got, want.sum())
				}
			}
		}
	}
}

// FuzzSum sums bytes as a whole, and in two pieces: by vectors, by words, and byte by
// byte. Repeated, for a fuzzer makes no long ones.
func FuzzSum(f *testing.F) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{1, 20, 127, 128, 1448, 1461} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		f.Add(b, uint8(0), uint8(n), uint16(n/3))
		f.Add(bytes.Repeat([]byte{0xff}, n), uint8(1), uint8(2), uint16(n-1))
	}
	f.Fuzz(func(t *testing.T, b []byte, times, start uint8, cut uint16) {
		b = bytes.Repeat(b, 1+int(times%32))
		b = b[min(int(start), len(b)):]
		b = b[:min(9000, len(b))]
		checkSum(t, b)
		at := min(int(cut), len(b))
		if got, want := sumOf(b[:at], b[at:]).Fold(), slowSum(b); got != want {
			t.Fatalf("%d of %d bytes, and the rest: %#04x, want %#04x", at, len(b), got, want)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 64, 1448, 8948, 65000} {
		data := sumPatterns(n)["random"]
		run := func(name string, sum func() uint64) {
			b.Run(fmt.Sprintf("%dB/%s", n, name), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					if sum() == 0 {
						b.Fatal("sum of bytes that are not zero is zero")
					}
				}
			})
		}
		run("words", func() uint64 { return sumWords(0, data) })
		run("Add", func() uint64 {
			var s Sum
			s.Add(data)
			return s.acc
		})
	}
}

package pattern

import (
	"bytes"
	"io"
	"testing"
)

func TestPiecesJoin(t *testing.T) {
	p := New(7)
	whole := make([]byte, 3<<20)
	p.Fill(whole, 0)
	for _, cut := range []int{1, 7, 8, 9, 100, 4088, 4095, 4096, 4097, 65537} {
		var joined []byte
		for off := 0; off < len(whole); off += cut {
			b := make([]byte, min(cut, len(whole)-off))
			p.Fill(b, int64(off))
			if n := p.Mismatches(b, int64(off)); n != 0 {
				t.Fatalf("cut %d: %d mismatches at %d in what Fill made", cut, n, off)
			}
			joined = append(joined, b...)
			if cut < 100 && off > 20000 {
				break
			}
		}
		if !bytes.Equal(joined, whole[:len(joined)]) {
			t.Errorf("cut %d: pieces differ from the whole", cut)
		}
	}
}

func TestEveryDamageIsSeen(t *testing.T) {
	p := New(1)
	b := make([]byte, 5<<20)
	p.Fill(b, 0)
	for _, at := range []int{0, 7, 8, 4095, 4096, 1 << 20, 5<<20 - 1} {
		b[at] ^= 0x40
		if n := p.Mismatches(b, 0); n != 1 {
			t.Errorf("one changed byte at %d: %d mismatches", at, n)
		}
		b[at] ^= 0x40
	}
	for _, shift := range []int64{1, 8, 4096, 65536, tableSize, 4 * tableSize} {
		if p.Mismatches(b[:1<<20], shift) == 0 {
			t.Errorf("a stream shifted by %d passes", shift)
		}
	}
	if New(2).Mismatches(b, 0) == 0 {
		t.Error("another seed's stream passes")
	}
}

func TestReader(t *testing.T) {
	p := New(3)
	b, err := io.ReadAll(p.Reader(100001))
	if err != nil || len(b) != 100001 || p.Mismatches(b, 0) != 0 {
		t.Fatalf("%d bytes, %v, %d mismatches", len(b), err, p.Mismatches(b, 0))
	}
}

func BenchmarkMismatches(b *testing.B) {
	p := New(1)
	buf := make([]byte, 64<<10)
	p.Fill(buf, 0)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if p.Mismatches(buf, 0) != 0 {
			b.Fatal("mismatch")
		}
	}
}

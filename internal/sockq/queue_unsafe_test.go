package sockq

import (
	"testing"
	"unsafe"
)

// TestQueueLines: what a batch needs lies in three cache lines, and each side's words
// apart from the other's.
func TestQueueLines(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("words of 32 bits: what is laid out is shorter")
	}
	const line = 64
	var q Queue
	frags := unsafe.Offsetof(q.frags)
	for _, f := range []struct {
		name     string
		from, to uintptr // offset of the field, and behind it
		line     uintptr
	}{
		{"cq", unsafe.Offsetof(q.cq), unsafe.Offsetof(q.pool), 1},
		{"pool to what the producer has of frags", unsafe.Offsetof(q.pool), frags + unsafe.Offsetof(q.frags.head), producerLine},
		{"what the consumer has of frags, and the first", frags + unsafe.Offsetof(q.frags.head), frags + unsafe.Offsetof(q.frags.own) + unsafe.Sizeof(q.frags.own[0]), 2},
		{"the rest of the consumer's", unsafe.Offsetof(q.mu), unsafe.Sizeof(q), consumerLine},
	} {
		if f.from/line != f.line || (f.to-1)/line != f.line {
			t.Errorf("%s: bytes %d to %d, want line %d of %d", f.name, f.from, f.to, f.line, line)
		}
	}
	// What Prefetch has loaded: up to the last of so many frags, and no further.
	for n := 1; n <= 2*ownLen; n++ {
		last := frags + unsafe.Offsetof(q.frags.own) + unsafe.Sizeof(q.frags.own[0])*uintptr(min(n, ownLen)) - 1
		if got, want := linesFor(n), int(last/line); got != want {
			t.Errorf("%d lines for %d frags, want %d", got, n, want)
		}
	}
	// A size class of the runtime's whose objects begin with a line; without the header
	// that larger ones have.
	if n := unsafe.Sizeof(q); n != 8*line {
		t.Errorf("a Queue has %d bytes", n)
	}
}

package wire

import "testing"

func TestSeqOrder(t *testing.T) {
	for _, tt := range []struct {
		a, b  Seq
		sub   int32 // a - b
		less  bool
		lessq bool
	}{
		{0, 0, 0, false, true},
		{1, 2, -1, true, true},
		{2, 1, 1, false, false},
		{0xffffffff, 0, -1, true, true},
		{0, 0xffffffff, 1, false, false},
		{0xfffffff0, 0x10, -0x20, true, true},
		{0x7fffffff, 0, 0x7fffffff, false, false},
		{0, 0x7fffffff, -0x7fffffff, true, true},
		// Exactly half the space apart: each comes before the other.
		{0x80000000, 0, -0x80000000, true, true},
		{0, 0x80000000, -0x80000000, true, true},
	} {
		if got := tt.a.Sub(tt.b); got != tt.sub {
			t.Errorf("%#x.Sub(%#x) = %d, want %d", tt.a, tt.b, got, tt.sub)
		}
		if got := tt.a.LessThan(tt.b); got != tt.less {
			t.Errorf("%#x.LessThan(%#x) = %v", tt.a, tt.b, got)
		}
		if got := tt.a.LessEq(tt.b); got != tt.lessq {
			t.Errorf("%#x.LessEq(%#x) = %v", tt.a, tt.b, got)
		}
		if got := tt.b.Add(uint32(tt.sub)); got != tt.a {
			t.Errorf("%#x.Add(%d) = %#x, want %#x", tt.b, tt.sub, got, tt.a)
		}
	}
}

func TestSeqInWindow(t *testing.T) {
	for _, tt := range []struct {
		s, start Seq
		size     uint32
		want     bool
	}{
		{10, 10, 0, false},
		{10, 10, 1, true},
		{9, 10, 1, false},
		{11, 10, 1, false},
		{5, 0xfffffff0, 0x15, false},
		{5, 0xfffffff0, 0x16, true},
		{0xffffffef, 0xfffffff0, 0x16, false},
	} {
		if got := tt.s.InWindow(tt.start, tt.size); got != tt.want {
			t.Errorf("%#x.InWindow(%#x, %d) = %v", tt.s, tt.start, tt.size, got)
		}
	}
}

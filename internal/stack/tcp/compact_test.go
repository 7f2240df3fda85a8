package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/wire"
)

// One-byte segments, of which nobody reads any, must not use up the region: they
// are copied together, and counted.
func TestCompaction(t *testing.T) {
	const n = 20_000
	s := scaled(t, 64, nil)
	least := 64
	for i := range n {
		s.inOut(1+i, 1, wire.ACK|wire.PSH, stream(i, 1))
		least = min(least, s.pool.Free())
	}
	if least < 8 {
		t.Errorf("only %d buffers were left", least)
	}
	got := s.received()
	if string(got) != string(stream(0, n)) {
		t.Errorf("received %d bytes, or wrong ones", len(got))
	}
	st := &s.sh.Stats
	if st.ZeroCopyBytes+st.CopiedBytes != n || st.CopiedBytes < n*9/10 || st.Compactions != st.CopiedBytes {
		t.Errorf("%d zero-copy, %d copied, %d compactions", st.ZeroCopyBytes, st.CopiedBytes, st.Compactions)
	}
	if s.c.Held() != 1 {
		t.Errorf("%d buffers held, want the open one", s.c.Held())
	}
	// It is closed when nothing comes any more.
	s.advance(2 * holdInterval)
	if s.c.Held() != 0 || s.c.pack.open {
		t.Errorf("%d buffers held by an idle connection", s.c.Held())
	}
}

func TestNoCompactionWithoutPressure(t *testing.T) {
	s := scaled(t, 1024, nil)
	for i := range 100 {
		s.inOut(1+i, 1, wire.ACK|wire.PSH, stream(i, 1))
	}
	if st := &s.sh.Stats; st.Compactions != 0 || st.ZeroCopyBytes != 100 {
		t.Errorf("%+v", st)
	}
}

func TestLargePayloadIsNeverCopied(t *testing.T) {
	s := scaled(t, 64, nil)
	for i := range 10 {
		s.inOut(1+257*i, 1, wire.ACK|wire.PSH, stream(257*i, 257))
	}
	b := s.take(40)
	s.inOut(1+2570, 1, wire.ACK|wire.PSH, stream(2570, 257))
	if st := &s.sh.Stats; st.Compactions != 0 {
		t.Errorf("%+v", st)
	}
	s.inOut(1+2827, 1, wire.ACK|wire.PSH, stream(2827, 256))
	if st := &s.sh.Stats; st.Compactions != 1 || st.CopiedBytes != 256 {
		t.Errorf("%+v", st)
	}
	s.giveBack(b)
	if got := s.received(); string(got) != string(stream(0, 3083)) {
		t.Error("wrong bytes")
	}
}

// With no buffer free to copy to, the payload stays where it is.
func TestCompactionWithoutBuffer(t *testing.T) {
	s := scaled(t, 4, nil) // too few for a reserve
	segment := s.segment(1, 1, wire.ACK|wire.PSH, []byte("x"))
	b := s.take(3)
	s.c.Input(s.now, segment)
	s.flush()
	if st := &s.sh.Stats; st.ZeroCopyBytes != 1 || st.CopiedBytes != 0 || st.Compactions != 0 {
		t.Errorf("%+v", st)
	}
	if s.c.pack.open || s.c.Held() != 1 {
		t.Errorf("%d buffers held, one open: %v; want that of the payload", s.c.Held(), s.c.pack.open)
	}
	s.giveBack(b)
	if got := s.received(); string(got) != "x" {
		t.Errorf("received %q", got)
	}
}

// A buffer of which no more pieces can be counted is full: the piece for which that is seen stays where it is,
// and the next one has another buffer.
func TestCompactionBeyondReferences(t *testing.T) {
	s := scaled(t, 64, nil)
	b := s.take(50)
	s.inOut(1, 1, wire.ACK|wire.PSH, []byte("a"))
	buffer := s.c.pack.buffer
	more := 0
	for s.pool.Get(s.pool.Frag(buffer, 0, 1)) == nil {
		more++
	}
	for i, p := range []string{"b", "c", "d"} {
		s.inOut(2+i, 1, wire.ACK|wire.PSH, []byte(p))
	}
	if st := &s.sh.Stats; st.Compactions != 3 || !s.c.pack.open || s.c.pack.buffer == buffer || s.c.Held() != 3 {
		t.Errorf("%d pieces copied, the open buffer is %d, the full one %d, %d held", st.Compactions, s.c.pack.buffer, buffer, s.c.Held())
	}
	if got := s.received(); string(got) != "abcd" {
		t.Errorf("received %q", got)
	}
	for range more {
		s.pool.Put(buffer)
	}
	s.giveBack(b)
}

// Copied pieces are held out of order too, and cut there.
func TestCompactionOutOfOrder(t *testing.T) {
	s := scaled(t, 64, nil)
	b := s.take(50)
	s.inOut(1+3, 1, wire.ACK, []byte("d"))
	s.inOut(1+5, 1, wire.ACK, []byte("f"))
	s.inOut(1+2, 1, wire.ACK, []byte("cXeXg"))
	s.giveBack(b)
	s.inOut(1, 1, wire.ACK, []byte("ab"))
	if got := s.received(); string(got) != "abcdefg" {
		t.Errorf("received %q", got)
	}
	if st := &s.sh.Stats; st.CopiedBytes != 5 || st.Compactions != 3 {
		t.Errorf("%d copied in %d compactions", st.CopiedBytes, st.Compactions)
	}
}

// What buffers hold on average is of those that payload was copied to: the window of a peer of tiny
// segments does not shrink for buffers that it does not take.
func TestCompactedBytesPerBuffer(t *testing.T) {
	s := scaled(t, 64, nil)
	b := s.take(50)
	for i := range 200 {
		s.inOut(1+100*i, 1, wire.ACK, stream(100*i, 100))
		s.received()
	}
	// Forty pieces fill a buffer, nearly: five count beside the eight of MSS that it begins with.
	if n := s.c.bytesPerBuffer(); s.sh.Stats.Compactions != 200 || n < testMSS || n > 3000 {
		t.Errorf("%d bytes a buffer, %d pieces copied", n, s.sh.Stats.Compactions)
	}
	s.giveBack(b)
}

// The open buffer stays as long as something comes in each round of the hold timer.
func TestCompactionGoesOn(t *testing.T) {
	s := scaled(t, 64, nil)
	b := s.take(50)
	var buffer uint16
	for i := range 10 {
		s.inOut(1+100*i, 1, wire.ACK, stream(100*i, 100))
		s.received()
		if i == 0 {
			buffer = s.c.pack.buffer
		}
		if !s.c.pack.open || s.c.pack.buffer != buffer {
			t.Fatalf("another buffer for piece %d", i)
		}
		s.advance(holdInterval * 3 / 4)
	}
	s.giveBack(b)
}

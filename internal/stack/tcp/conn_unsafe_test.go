package tcp

import (
	"testing"
	"unsafe"

	"github.com/zctap/zctap/internal/sockq"
)

// An idle connection costs less than 2 KiB, and holds no buffer and no send block.
func TestIdleSize(t *testing.T) {
	const perChannel, channels = 128, 4 // the two parkers'
	size := unsafe.Sizeof(Conn{}) + unsafe.Sizeof(sockq.Queue{}) + unsafe.Sizeof(SendBuffer{}) + unsafe.Sizeof(cubic{}) + perChannel*channels
	t.Logf("Conn %d, cubic %d, Queue %d, SendBuffer %d bytes", unsafe.Sizeof(Conn{}), unsafe.Sizeof(cubic{}), unsafe.Sizeof(sockq.Queue{}), unsafe.Sizeof(SendBuffer{}))
	if size > 2048 {
		t.Errorf("%d bytes for an idle connection", size)
	}
	// The runtime's size class of 768 bytes, without the header that it gives an
	// object of this size; the next one is 896.
	if n := unsafe.Sizeof(Conn{}); n > 760 {
		t.Errorf("a Conn has %d bytes, which take 896", n)
	}
}

// TestConnLines: what a segment in order and its ACK need lies in the cache lines of a
// Conn that Prefetch loads, behind the 8 bytes that the runtime puts before an object of this size.
func TestConnLines(t *testing.T) {
	const line, before = 64, 8
	var c Conn
	if end := unsafe.Offsetof(c.keep) + unsafe.Offsetof(c.keep.heard) + unsafe.Sizeof(c.keep.heard); before+end > frontLines*line {
		t.Errorf("they take %d bytes", end)
	}
	if at := before + unsafe.Offsetof(c.timers); at/line != timersLine || (at+unsafe.Sizeof(c.timers)-1)/line != timersLine {
		t.Errorf("the timers are bytes %d to %d", at, at+unsafe.Sizeof(c.timers))
	}
	for name, f := range map[string]uintptr{
		"state": unsafe.Offsetof(c.state), "acks": unsafe.Offsetof(c.acks), "opt": unsafe.Offsetof(c.opt), "snd": unsafe.Offsetof(c.snd),
		"rcv": unsafe.Offsetof(c.rcv), "timers": unsafe.Offsetof(c.timers), "Recv": unsafe.Offsetof(c.Recv), "account": unsafe.Offsetof(c.account),
	} {
		if f > unsafe.Offsetof(c.keep) {
			t.Errorf("%s lies behind them", name)
		}
	}
}

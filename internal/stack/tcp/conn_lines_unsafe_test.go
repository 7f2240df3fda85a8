//go:build amd64 || arm64

package tcp

import (
	"testing"
	"unsafe"
)

// TestConnLines: what a segment in order and its ACK need lies in the cache lines of a
// Conn that Prefetch loads, behind the 8 bytes that the runtime puts before an object of this
// size. Elsewhere package prefetch does nothing.
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

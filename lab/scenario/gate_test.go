//go:build linux

package scenario

import (
	"sync"

	"github.com/zctap/zctap/lab/gvnic"
)

// A gate is where the wire ends at eth0. It lets so many bytes pass, and then has the
// sender keep its frames until it is told to go on, as a NIC does with pause frames. So a
// stream does not end before what is to happen in its midst has happened, however long that
// takes on a busy machine.
type gate struct {
	gvnic.End // eth0

	mu      sync.Mutex
	sender  gvnic.End
	closed  bool
	left    int  // bytes of frames that pass if closed
	refused bool // the sender waits
}

// join makes the wire between eth0 and its sender.
func (g *gate) join(eth0, sender gvnic.End) {
	g.End, g.sender = eth0, sender
	eth0.Connect(sender)
	sender.Connect(g)
}

// Deliver implements gvnic.End.
func (g *gate) Deliver(f gvnic.Frame) bool {
	n := len(f.Data) // f is eth0's then
	if !g.take(n) {
		return false
	}
	if g.End.Deliver(f) {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left += n
	return false
}

func (g *gate) take(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused = g.closed && n > g.left; g.refused {
		return false
	}
	g.left -= n
	return true
}

// pass lets n more bytes pass, and nothing more then.
func (g *gate) pass(n int) {
	if g.set(true, n) {
		g.sender.Ready()
	}
}

// open lets everything pass.
func (g *gate) open() {
	if g.set(false, 0) {
		g.sender.Ready()
	}
}

func (g *gate) set(closed bool, left int) (waits bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.left = closed, left
	waits, g.refused = g.refused, false
	return waits
}

package user

import (
	"sync/atomic"

	"github.com/zctap/zctap/internal/mono"
)

// A command asks the engine's goroutine to do something. It is linked into the
// queue at most once, however often it is asked for before the engine comes to
// it, so that a connection can embed one and never allocates to be heard.
type command struct {
	// bits are what is asked for; what they mean is up to run. Whoever sets the
	// first one links the command; the engine takes all of them at once.
	bits atomic.Uint32
	next *command // while linked: whoever links it, then the engine
	run  func(now mono.Time, bits uint32)
}

// A commandQueue is a stack of commands: any goroutine pushes, the engine takes
// all (Treiber 1986; as nothing is ever popped alone, there is no ABA problem).
type commandQueue struct{ top atomic.Pointer[command] }

// push asks for bits, which are not zero, of c.
func (q *commandQueue) push(c *command, bits uint32) {
	if c.bits.Or(bits) != 0 {
		return // linked already, and not yet taken
	}
	for {
		old := q.top.Load()
		c.next = old
		if q.top.CompareAndSwap(old, c) {
			return
		}
	}
}

// empty reports whether there is nothing to take.
func (q *commandQueue) empty() bool { return q.top.Load() == nil }

// run takes and runs all commands, the oldest first, and reports whether there
// were any. One goroutine at a time.
func (q *commandQueue) run(now mono.Time) bool {
	var oldest *command
	for c := q.top.Swap(nil); c != nil; {
		c.next, oldest, c = oldest, c, c.next
	}
	any := oldest != nil
	for c := oldest; c != nil; {
		next := c.next
		// From here on whoever asks links c anew.
		c.run(now, c.bits.Swap(0))
		c = next
	}
	return any
}

// post asks for bits of c, and makes sure that somebody does them: the engine's
// goroutine, or, when that has ended, the caller.
func (e *Engine) post(c *command, bits uint32) {
	e.commands.push(c, bits)
	e.wake()
	// Sequentially consistent with the loop's end, which sets ended before it
	// runs the commands for the last time: either it has seen ours, or we see
	// that it has ended.
	if e.ended.Load() {
		e.after.Lock()
		e.commands.run(mono.Now())
		e.after.Unlock()
	}
}

// handling reports whether the caller is the completion queue's handler, which is on
// the engine's goroutine, between two rounds.
func (e *Engine) handling() bool { return e.config.CQ != nil && e.config.CQ.Handling() }

// do has the engine's goroutine call fn, and returns when it has.
func (e *Engine) do(fn func(now mono.Time)) {
	if e.handling() {
		now := mono.Now()
		e.commands.run(now) // what was asked for before
		fn(now)
		e.commands.push(&e.nothing, 1) // the next round does what came of it
		return
	}
	done := make(chan struct{})
	c := &command{run: func(now mono.Time, _ uint32) {
		fn(now)
		close(done)
	}}
	e.post(c, 1)
	<-done
}

// wake makes the loop go round once more, if it sleeps or is about to.
//
// It pairs with sleep, which looks behind Begin at what it could be woken for; that has been
// published before. The driver may be closed by the time that it is woken, if the loop
// was woken by something else, and ended.
func (e *Engine) wake() {
	if e.doze.Wake() {
		e.driver.Wake()
	}
}

//go:build linux

package kernel

import "sync"

// op is what an application goroutine wants from the loop.
type op uint8

const (
	opAttach   op = iota // watch s; the reply says whether that worked
	opReceive            // s is connected: receive
	opArmWrite           // tell when s is writable
	opDetach             // let go of s, then close s.gone
	opStop               // end
	opAdopt              // watch s, which another loop has accepted, and receive
	opFail               // end as another loop did, with err
)

type command struct {
	op    op
	s     *socket
	reply chan<- error // capacity 1
	err   error
}

// inbox is the commands that wait for the loop.
type inbox struct {
	mu      sync.Mutex
	waiting []command
	spare   []command // the loop's, swapped with waiting
	closed  bool
}

// post hands c to the loop; false if that has stopped.
func (l *loop) post(c command) bool {
	l.inbox.mu.Lock()
	if l.inbox.closed {
		l.inbox.mu.Unlock()
		return false
	}
	l.inbox.waiting = append(l.inbox.waiting, c)
	l.inbox.mu.Unlock()
	l.wake()
	return true
}

// attach makes the loop watch s and waits until it does.
func (l *loop) attach(s *socket) error {
	reply := make(chan error, 1)
	if !l.post(command{op: opAttach, s: s, reply: reply}) {
		return l.ended()
	}
	return <-reply
}

// take is the commands posted since the last call. They are the loop's until
// the next.
func (b *inbox) take() []command {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.waiting
	b.waiting, b.spare = b.spare[:0], got
	return got
}

func (b *inbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) == 0
}

// close refuses commands from now on, and returns those that still wait.
func (b *inbox) close() []command {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.waiting
}

// runCommands does what was posted.
func (l *loop) runCommands() {
	cmds := l.inbox.take()
	for i, c := range cmds {
		l.runCommand(c)
		cmds[i] = command{} // don't keep the socket
	}
}

func (l *loop) runCommand(c command) {
	switch c.op {
	case opAttach:
		c.reply <- l.watch(c.s)
	case opReceive:
		if !c.s.detaching {
			l.back.receive(c.s)
		}
	case opArmWrite:
		if c.s.detaching {
			return // its writer is being closed
		}
		l.back.armWrite(c.s)
	case opDetach:
		l.detach(c.s)
	case opStop:
		l.stop()
	case opAdopt:
		l.adopt(c.s)
	case opFail:
		l.told = c.err
	}
}

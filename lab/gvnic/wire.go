//go:build linux

package gvnic

import "sync"

// An End is one end of a wire: a Device, a TAP interface, a driver of IP
// packets, or any of them with a recording.
type End interface {
	// Connect tells the end whom it sends to. Join calls it, once, before
	// there are frames; of an end without peer the frames are lost.
	Connect(peer End)

	// Deliver hands a frame to the end, which owns its Data from then on. It
	// never blocks, and takes no lock that could be held while the end itself
	// calls another's Deliver. It returns false, and takes nothing, if the end
	// has no room: then the end calls its peer's Ready when it has some.
	//
	// An end that can't send what it took drops it, and counts it.
	Deliver(f Frame) bool

	// Ready tells the end that its peer has room again. Like Deliver it does
	// not block.
	Ready()

	// Close ends the end; what is delivered afterwards is lost.
	Close() error
}

// Join makes a wire of two ends, which may be one and the same: a loopback
// plug. Each end is joined once.
func Join(a, b End) {
	a.Connect(b)
	if a != b {
		b.Connect(a)
	}
}

// A mailbox is a bounded queue of frames between two ends, with a lock of its
// own under which nothing is called.
type mailbox struct {
	mu        sync.Mutex
	frames    []Frame
	bytes     int
	maxFrames int
	maxBytes  int
	refused   bool // a put was turned away since the last take
	closed    bool
}

// put appends a frame and reports whether there was room. One frame has always
// room in an empty mailbox. A closed mailbox takes and forgets everything.
func (m *mailbox) put(f Frame) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return true
	}
	if len(m.frames) > 0 && (len(m.frames) >= m.maxFrames || m.bytes+len(f.Data) > m.maxBytes) {
		m.refused = true
		return false
	}
	m.frames = append(m.frames, f)
	m.bytes += len(f.Data)
	return true
}

// take empties the mailbox. refused: the sender waits to be told Ready.
func (m *mailbox) take(into []Frame) (frames []Frame, refused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	frames = append(into, m.frames...)
	clear(m.frames) // for the collector
	m.frames, m.bytes = m.frames[:0], 0
	refused, m.refused = m.refused, false
	return frames, refused
}

// close forgets everything, now and from now on. It reports whether the sender
// waits to be told Ready.
func (m *mailbox) close() (refused bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.frames, m.bytes = nil, 0
	refused, m.refused = m.refused, false
	return refused
}

// nudge wakes whoever receives from a channel of capacity 1.
func nudge(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package sockq

import "github.com/zctap/zctap/internal/park"

// A sleeper is a consumer that may wait.
type sleeper struct {
	park.Parker
	late bool // in a Wakes; producer
}

// Wakes gathers the consumers that a producer is to wake, so that it can do so
// a little later: while the producer has more to take in, a consumer that sleeps
// a moment longer finds more, and both sides make fewer system calls. It is what
// interrupt moderation is to a NIC. Payload is visible at once; who looks finds
// it. The producer's goroutine only; the zero Wakes is ready.
type Wakes struct {
	late []*sleeper
	off  bool
}

// Waiting reports whether somebody is to be woken.
func (w *Wakes) Waiting() bool { return len(w.late) > 0 }

// Wake wakes everybody that is to be woken.
func (w *Wakes) Wake() {
	for i, s := range w.late {
		s.late = false
		s.Unpark()
		w.late[i] = nil
	}
	w.late = w.late[:0]
}

// Stop wakes everybody, and from now on at once: nobody will call Wake again.
func (w *Wakes) Stop() {
	w.Wake()
	w.off = true
}

// add has s woken, if it waits. One that begins to wait after this looks once more,
// and finds what was published before.
func (w *Wakes) add(s *sleeper) {
	switch {
	case w == nil || w.off:
		s.Unpark()
	case !s.late && s.Waiting():
		s.late = true
		w.late = append(w.late, s)
	}
}

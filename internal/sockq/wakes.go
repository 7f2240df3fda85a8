package sockq

// Wakes gathers the consumers that a producer is to wake, so that it can do so
// a little later: while the producer has more to take in, a consumer that sleeps
// a moment longer finds more, and both sides make fewer system calls. It is what
// interrupt moderation is to a NIC. Payload is visible at once; who looks finds
// it. The producer's goroutine only; the zero Wakes is ready.
type Wakes struct {
	late []*Queue
	off  bool
}

// Waiting reports whether somebody is to be woken.
func (w *Wakes) Waiting() bool { return len(w.late) > 0 }

// Wake wakes everybody that is to be woken.
func (w *Wakes) Wake() {
	for i, q := range w.late {
		q.late = false
		q.Unpark()
		w.late[i] = nil
	}
	w.late = w.late[:0]
}

// Stop wakes everybody, and from now on at once: nobody will call Wake again.
func (w *Wakes) Stop() {
	w.Wake()
	w.off = true
}

// add has q's consumer woken, if it waits. One that begins to wait after this
// looks once more, and finds what was published before.
func (w *Wakes) add(q *Queue) {
	switch {
	case w == nil || w.off:
		q.Unpark()
	case !q.late && q.Waiting():
		q.late = true
		w.late = append(w.late, q)
	}
}

package packet

import "time"

// lateWake is a time without the CPU from which on a run's timing is not to be
// trusted.
const lateWake = 5 * time.Millisecond

// A stopwatch is the clock of a target in real time. It notices when the process did
// not get the CPU: what a runner does from one wait to the next takes no time to speak
// of; if it did, or if a wait was too long, others had it.
type stopwatch struct {
	start time.Time
	awake time.Duration // when the last wait returned
	late  time.Duration // the longest time without the CPU
}

// Now is the time since the start.
func (w *stopwatch) Now() time.Duration { return time.Since(w.start) }

// Late reports whether this process has been without the CPU for so long that the run
// tells nothing about timing.
func (w *stopwatch) Late() bool { return w.late > lateWake }

// wait runs f, which waits until then at most, for the time left.
func (w *stopwatch) wait(until time.Duration, f func(left time.Duration) error) error {
	now := w.Now()
	w.late = max(w.late, now-w.awake)
	err := f(max(until-now, 0))
	w.awake = w.Now()
	w.late = max(w.late, w.awake-max(until, now))
	return err
}

// A mailbox is what the stack has sent and nobody has looked at, on a target in real
// time: receive waits until then for more, and takes what is there.
type mailbox struct {
	stopwatch
	sent    []*Sent
	receive func(until time.Duration) error
}

// Sleep is Target's.
func (m *mailbox) Sleep(until time.Duration) error {
	for m.Now() < until {
		if err := m.receive(until); err != nil {
			return err
		}
	}
	return nil
}

// Next is Target's. What is there already counts, also when it is late.
func (m *mailbox) Next(until time.Duration) (*Sent, error) {
	err := m.receive(min(until, m.Now()))
	for err == nil && len(m.sent) == 0 && m.Now() < until {
		err = m.receive(until)
	}
	if err != nil || len(m.sent) == 0 {
		return nil, err
	}
	s := m.sent[0]
	m.sent = m.sent[1:]
	return s, nil
}

// add puts a packet in.
func (m *mailbox) add(raw []byte) { m.sent = append(m.sent, &Sent{At: m.Now(), Raw: raw}) }

package stack

import (
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack/tcp"
)

// waits are the connections in TIME-WAIT: apart from the others, since there may be
// many more of them, and in the order in which they end.
type waits struct {
	table       table[tcp.Wait]
	first, last *tcp.Wait
}

func (l *waits) add(w *tcp.Wait) {
	l.table.put(w.Tuple(), w)
	l.link(w)
}

func (l *waits) remove(w *tcp.Wait) {
	l.table.remove(w.Tuple())
	l.unlink(w)
}

// link puts w behind all others: none ends later, as all wait equally long.
func (l *waits) link(w *tcp.Wait) {
	w.Prev, w.Next = l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.Next = w
	}
	l.last = w
}

func (l *waits) unlink(w *tcp.Wait) {
	if w.Prev == nil {
		l.first = w.Next
	} else {
		w.Prev.Next = w.Next
	}
	if w.Next == nil {
		l.last = w.Prev
	} else {
		w.Next.Prev = w.Prev
	}
	w.Prev, w.Next = nil, nil
}

// retire puts w in the place of c. With too many the oldest ends early, which has the
// least to wait for: bounded memory comes first.
func (s *Stack) retire(c *tcp.Conn, w *tcp.Wait) {
	s.timers.remove(c)
	s.conns.remove(c.Tuple())
	s.waits.add(w)
	if s.waits.table.n > s.tcp.MaxTimeWait {
		s.tcp.Stats.TimeWaitOverflows++
		s.endWait(s.waits.first)
	}
}

// inputWait gives w a segment.
func (s *Stack) inputWait(now mono.Time, w *tcp.Wait) {
	due := w.Due
	w.Input(now, &s.segment)
	if w.Due != due {
		s.waits.unlink(w)
		s.waits.link(w)
	}
}

// endWait forgets w.
func (s *Stack) endWait(w *tcp.Wait) {
	s.waits.remove(w)
	w.End()
	if s.gone != nil {
		s.gone(w.Tag)
	}
}

// endWaits forgets those whose time has come.
func (s *Stack) endWaits(now mono.Time) {
	for w := s.waits.first; w != nil && !now.Before(w.Due); w = s.waits.first {
		s.endWait(w)
	}
}

// DropTimeWaits forgets all connections in TIME-WAIT: nobody will answer for them.
func (s *Stack) DropTimeWaits() {
	for s.waits.first != nil {
		s.endWait(s.waits.first)
	}
}

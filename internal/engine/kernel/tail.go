//go:build linux

package kernel

import "github.com/zctap/zctap/internal/buf"

// A tail is the last buffer of a socket, filled in part: what comes next goes
// behind it. The loop holds a reference to it of its own, so that it stays when
// the application has returned all that is in it.
type tail struct {
	open   bool
	buffer uint16
	used   int // bytes from the buffer's start
	shares int // frags cut from the buffer

	newer, older *socket // in tails
}

const (
	// maxShares bounds the frags of one buffer, and so the memory that a sender
	// of tiny pieces can tie up in a queue: a frag or message of a queue is
	// larger than a byte of payload.
	maxShares = 64
	// minRoom is the least room, as a part of a buffer, for which a tail is kept.
	minRoom = 16
)

// tails is the open tails, in the order of use. They are few: a connection that
// has been silent for long loses its own to one that is not.
type tails struct {
	newest, oldest *socket
	n, max         int
}

func (t *tails) add(s *socket) {
	s.tail.older, s.tail.newer = t.newest, nil
	if t.newest != nil {
		t.newest.tail.newer = s
	} else {
		t.oldest = s
	}
	t.newest = s
	t.n++
}

func (t *tails) remove(s *socket) {
	if s.tail.newer != nil {
		s.tail.newer.tail.older = s.tail.older
	} else {
		t.newest = s.tail.older
	}
	if s.tail.older != nil {
		s.tail.older.tail.newer = s.tail.newer
	} else {
		t.oldest = s.tail.newer
	}
	s.tail.newer, s.tail.older = nil, nil
	t.n--
}

// openTail makes the buffer that f fills the beginning of the tail of s, if it
// has room left. The caller holds f's reference.
func (l *loop) openTail(s *socket, f buf.Frag) {
	l.closeTail(s)
	end := f.Offset() + f.Len()
	if l.pool.Region().BufferSize()-end < l.pool.Region().BufferSize()/minRoom {
		return
	}
	if l.pool.Get(f) != nil {
		return // counted out: no buffer of ours comes near that
	}
	s.tail.open, s.tail.buffer, s.tail.used, s.tail.shares = true, f.Buffer(), end, 1
	l.tails.add(s)
	if l.tails.n > l.tails.max {
		l.closeTail(l.tails.oldest)
	}
}

// tailRoom is the memory that the tail of s has left, nil if it is not open.
func (l *loop) tailRoom(s *socket) []byte {
	if !s.tail.open {
		return nil
	}
	return l.pool.Region().Buffer(s.tail.buffer)[s.tail.used:]
}

// extendTail makes a frag of the n bytes behind what the tail of s holds, with
// a reference for the caller. n is at most what tailRoom has.
func (l *loop) extendTail(s *socket, n int) buf.Frag {
	t := &s.tail
	f := l.pool.Frag(t.buffer, t.used, n).AsCopied()
	t.used += n
	t.shares++
	size := l.pool.Region().BufferSize()
	if size-t.used < size/minRoom || t.shares == maxShares || l.pool.Get(f) != nil {
		// No further one: the frag takes over the tail's own reference.
		t.open = false
		l.tails.remove(s)
		return f
	}
	if l.tails.newest != s {
		l.tails.remove(s)
		l.tails.add(s)
	}
	return f
}

func (l *loop) closeTail(s *socket) {
	if s.tail.open {
		s.tail.open = false
		l.tails.remove(s)
		l.pool.Put(s.tail.buffer)
	}
}

func (l *loop) closeTails() {
	for l.tails.oldest != nil {
		l.closeTail(l.tails.oldest)
	}
}

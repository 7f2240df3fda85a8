//go:build linux

package kernel

// promises is what the connections may still take that have a request in the
// kernel: their credits, in buffers. Others are given only what is free beyond
// it, or many connections that are each within their limit would take the whole
// area together. Most of a large number of connections are idle and have more
// than they need; when somebody wants some, those that were armed longest ago
// are armed anew, with little.
type promises struct {
	oldest, newest *socket // armed with more than a buffer's worth, in the order of their requests
	sum            int     // of buffers
}

// promise is a connection's.
type promise struct {
	left         int // buffers
	listed       bool
	older, newer *socket
}

// make notes that s may take n buffers. If it is only one, there is nothing to
// take back.
func (p *promises) make(s *socket, n int) {
	q := &s.zc.promise
	p.sum += n - q.left
	q.left = n
	if n > 1 && !q.listed {
		q.listed, q.older = true, p.newest
		if p.newest != nil {
			p.newest.zc.promise.newer = s
		} else {
			p.oldest = s
		}
		p.newest = s
	}
}

// use notes that s has taken n.
func (p *promises) use(s *socket, n int) {
	n = min(n, s.zc.promise.left)
	s.zc.promise.left -= n
	p.sum -= n
}

// drop notes that s has no request any more, and returns what it has left.
func (p *promises) drop(s *socket) (left int) {
	left = s.zc.promise.left
	p.sum -= left
	s.zc.promise.left = 0
	p.unlist(s)
	return left
}

func (p *promises) unlist(s *socket) {
	q := &s.zc.promise
	if !q.listed {
		return
	}
	if q.newer != nil {
		q.newer.zc.promise.older = q.older
	} else {
		p.newest = q.older
	}
	if q.older != nil {
		q.older.zc.promise.newer = q.newer
	} else {
		p.oldest = q.newer
	}
	q.listed, q.older, q.newer = false, nil, nil
}

// recallsAtATime bounds what is done for one connection.
const recallsAtATime = 16

// recall has those armed longest ago armed anew with one buffer each, until want
// buffers more can be given away, when they have let go. It returns how many of them
// are left to be found.
func (z *zcrx) recall(want int) (left int) {
	for range recallsAtATime {
		s := z.promises.oldest
		if s == nil || want <= 0 {
			break
		}
		z.promises.unlist(s)
		if s.cancelling || s.detaching || s.zc.promise.left <= 1 {
			continue
		}
		want -= s.zc.promise.left - 1
		s.zc.grant = z.unit
		z.stats.recalled.Add(1)
		z.halt(s)
	}
	return want
}

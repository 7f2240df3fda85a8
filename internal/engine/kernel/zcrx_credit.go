//go:build linux

package kernel

import "github.com/zctap/zctap/internal/buf"

// Payload leaves the socket when its completion is posted, and from then on the
// sender is told that there is room: buffers that the application holds, or has
// not looked at, do not close the TCP window. And a dry area makes the NIC drop
// for every flow of the queue. So each receive has a credit in bytes, which is
// small for a new connection and grows as it is used up (SQE.len); what a
// connection holds is limited as in limit.go, by what is free; and one that is
// beyond its limit is not armed again, or its request cancelled, so that the
// kernel's receive buffer fills and the window closes.

const (
	firstGrant = 16      // buffers' worth of bytes, the credit of a connection's first request
	maxGrant   = 4 << 20 // bytes: to arm anew for each so many costs nothing to speak of
	meanShift  = 3       // each completion counts for an eighth of what they bring on the average
)

// zcState is what the zcrx backend knows of a stream. Buffers are the kernel's
// here, BufferSize bytes each.
type zcState struct {
	held  int    // buffers with its payload that did not come back
	alone int    // of these, the ones that no other connection has payload in
	size  uint32 // credit in bytes of the request in the kernel
	got   uint64 // bytes that it has brought
	seen  uint64 // as much of it as findStalled knew of when it looked last
	grant int    // bytes: the credit of the next request, if nothing else limits it
	mean  int    // bytes that a completion brings, smoothed

	active    bool   // it has used up its last credit
	tries     int    // requests in a row that ended for want of buffers and brought nothing
	elsewhere bool   // its packets come in by another queue
	located   uint64 // number of the round in which that was found out
	unlocated int    // bytes that have come since
	doubted   bool   // in zcrx.doubts
	promise   promise
	reserved  int // buffers of the reserve that its request may need
	window    window
}

// begin makes s ready for its first request.
func (z *zcrx) begin(s *socket) {
	if s.zc.grant == 0 {
		s.zc.grant = firstGrant * z.unit
		s.zc.mean = z.unit / 2
		z.bound(s)
	}
}

// free is how many buffers nobody holds: with the kernel or the NIC, or on the
// way there. Both ways of counting err to the same side: a buffer of the region
// that is held in part may still be used by the NIC, and completions may share a
// buffer.
func (z *zcrx) free() int {
	return max(z.l.pool.FreeLent()*z.per, z.total-z.records.out-z.others.out, 0)
}

// credit is how many more buffers s may take; not positive: it has to wait.
func (z *zcrx) credit(s *socket) int {
	if s.conn == nil {
		return z.l.credit(s)
	}
	n, _ := z.allowance(s)
	return n
}

// allowance is how many more buffers stream s may take, of the area, or of the
// reserve, to which its payload is copied then.
func (z *zcrx) allowance(s *socket) (n int, reserve bool) {
	free := z.free()
	if n = z.creditOf(s, free); n > 0 || !z.mayReserve(s, free) {
		return n, false
	}
	// Not what others are to be copied to already; and as it lies in the area until
	// it is copied, not much at a time.
	left := z.l.pool.Free() + len(z.l.stock) - (z.reserved - s.zc.reserved) - z.others.reserved
	if n = min(z.l.credit(s), left, firstGrant/4); n <= 0 && free > 0 && z.holdsNothing(s) {
		return 1, false
	}
	return n, true
}

// mayReserve reports whether s, which holds as much as it may of the area, goes
// on with the reserve, where its payload is copied to:
//
//   - when the area is low, for what is on its way already, and the other flows
//     need the buffers more than s;
//   - with small payloads, of which many share a buffer there;
//   - when it has taken all that came, where connections share buffers: what it
//     seems to hold may be held by others.
func (z *zcrx) mayReserve(s *socket, free int) bool {
	c := &s.zc
	return free < z.total/4 || c.window.drain || c.mean > 0 && c.mean <= z.unit/4 ||
		z.records.shared && s.conn.queue.Buffered() < z.unit
}

// holdsNothing reports whether the application has given back all that came for s: what
// s is charged for lies in buffers that others share, whom nobody reads. If it waited
// for them it could wait for ever. It takes a look at all buffers, where there is
// nothing else to give: for s to have one of the last.
func (z *zcrx) holdsNothing(s *socket) bool {
	if s.zc.alone > 0 && z.group == nil || s.account.Held() > 0 || s.dirty || s.conn.queue.Buffered() > 0 {
		return false
	}
	// Nothing waits in the queue: what the application took has its references by now.
	return !z.records.any(s.token, z.l.pool.InUse)
}

// unreserve notes that s needs n buffers of the reserve less.
func (z *zcrx) unreserve(s *socket, n int) {
	n = min(n, s.zc.reserved)
	s.zc.reserved -= n
	z.reserved -= n
}

// creditOf is how many more buffers of the area s may take if free are free,
// beyond what it was promised: so many that it then holds a quarter of what the
// others leave, and what the kernel may fill meanwhile. Slow readers that come one after the other take a fifth of what
// is left each, and not half as where the kernel keeps the payload (limit.go):
// what one takes here, the NIC lacks for all. A sixteenth of the area is for
// those who hold little.
func (z *zcrx) creditOf(s *socket, free int) int {
	held := s.zc.held + s.account.Held()
	left := free - (z.promises.sum - s.zc.promise.left) - z.others.promised - z.atRisk()
	credit := (left - z.floor() - 4*held) / 5
	if held < firstGrant {
		credit = max(credit, min(firstGrant-held, left/16))
	}
	switch {
	case held == 0 && free > 0, s.zc.alone == 0 && free > z.floor()/2 && s.conn.queue.Buffered() == 0:
		// The others hold what it seems to hold, or the application does.
		credit = max(credit, 1)
	}
	if z.l.maxHeld > 0 {
		credit = min(credit, z.l.maxHeld-held)
	}
	return credit
}

// floor is what those who hold much leave to those who hold little.
func (z *zcrx) floor() int { return max(min(z.sockets(), z.total/4), z.total/16) }

// sockets is how many there are.
func (z *zcrx) sockets() int { return z.l.table.used + z.others.sockets }

// arm implements receiver.
func (z *zcrx) arm(s *socket) {
	if s.ops&reqRecv != 0 {
		return
	}
	z.begin(s)
	credit, reserve := z.allowance(s)
	if want := s.zc.grant / s.zc.mean; s.zc.active && credit < want {
		if left := z.recall(want - credit); left > 0 && z.group != nil {
			z.group.ask(z, left)
		}
	}
	if credit <= 0 {
		if z.free() == 0 {
			z.starved()
		}
		s.zc.grant = max(s.zc.grant/2, firstGrant*z.unit)
		z.l.pause(s)
		return
	}
	if !reserve {
		s.zc.window.drain = false
	}
	z.refit(s)
	// Not less than a buffer, or what it brings would seem to be the measure.
	size := min(max(credit*s.zc.mean, z.unit), s.zc.grant)
	s.zc.size, s.zc.got = uint32(size), 0
	n := 1
	if size > z.unit {
		n = (size + s.zc.mean - 1) / s.zc.mean
	}
	z.promises.make(s, n)
	if reserve {
		s.zc.reserved = credit
		z.reserved += credit
	}
	s.cancelling = false
	z.request(reqRecv, s, recvZC(s, z.ifq.ID()))
	if z.group != nil {
		z.publish() // the round may wait for long now
	}
}

// starved tells the application that no buffer is free.
func (z *zcrx) starved() {
	if l := z.l.alloc; l != nil {
		l.Lock()
		defer l.Unlock()
	}
	z.l.pool.Starved()
}

// note counts n bytes that a completion brought. One that the credit has cut
// short says nothing of what others will bring.
func (c *zcState) note(n int) {
	c.got += uint64(n)
	if n > c.mean || !c.usedUp() {
		c.mean += (n - c.mean) >> meanShift
	}
	c.unlocated -= n
	c.tries = 0
}

// noteAll is note for each of frags, which are so many bytes, most of them whole buffers of
// unit bytes.
func (c *zcState) noteAll(frags []buf.Frag, bytes, unit int) {
	c.unlocated -= bytes
	c.tries = 0
	if bytes == len(frags)*unit && (unit-c.mean)>>meanShift == 0 {
		c.got += uint64(bytes) // none brings more, so all are whole; and the mean stays
		return
	}
	got, size, mean := c.got, uint64(c.size), c.mean
	for i := range frags {
		n := frags[i].Len()
		if got += uint64(n); n > mean || got < size {
			mean += (n - mean) >> meanShift
		}
	}
	c.got, c.mean = got, mean
}

// usedUp reports whether a request that ended with result 0 did so because it
// has brought its credit. Else it is the end of the stream.
func (c *zcState) usedUp() bool { return c.got >= uint64(c.size) }

// grow doubles the credit of a connection that has used up its last, and its
// receive buffer.
func (z *zcrx) grow(s *socket) {
	most := max(min(maxGrant, z.total/4*z.unit), firstGrant*z.unit)
	s.zc.grant = min(2*s.zc.grant, most)
	z.widen(s)
}

// restrain ends the requests of the connections that have taken more than they
// may in this round.
func (z *zcrx) restrain() {
	for _, s := range z.l.dirty {
		if s.conn != nil && s.ops&reqRecv != 0 && !s.cancelling && !s.detaching && z.credit(s) <= 0 {
			z.halt(s)
		}
	}
}

// halt has the request for payload of s end.
func (z *zcrx) halt(s *socket) {
	s.cancelling = true
	z.cancel(reqRecv, s)
}

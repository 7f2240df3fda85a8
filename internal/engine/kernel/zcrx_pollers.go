//go:build linux

package kernel

import (
	"slices"
	"time"
)

const (
	// askAgain is for how long an answer about the pollers of others holds.
	askAgain = time.Second
	// askSoon is how long after a question in vain the next one is asked: while a driver
	// makes its queues anew there is no answer, or for a moment still none.
	askSoon = 10 * time.Millisecond
)

// maxOthers bounds how many pollers of others are known.
const maxOthers = 1024

// pollers are the NAPI instances that are known to poll our queue, and others. A driver
// that makes its queues anew, for a reset, another MTU or other rings, may poll them by new
// instances; no other queue gets the id of one that was ours. So an id that is not known is
// asked about at once, and what was ours once is ours.
type pollers struct {
	ours   [4]uint32 // the latest first; 0 is none
	others map[uint32]bool
	asked  time.Time
	vain   bool // there was no answer then
}

func (p *pollers) areOurs(id uint32) bool { return id != 0 && slices.Contains(p.ours[:], id) }

// askPoller asks what polls our queue.
func (z *zcrx) askPoller(now time.Time) {
	p := &z.pollers
	p.asked, p.vain = now, true
	if z.o.NAPI == nil {
		return
	}
	id, err := z.o.NAPI()
	if err != nil || id == 0 {
		return // as long as the queue is made anew there is none
	}
	p.vain = false
	if !p.areOurs(id) {
		copy(p.ours[1:], p.ours[:])
		p.ours[0] = id
		delete(p.others, id)
	}
}

// tells reports whether it was ever known what polls our queue. Not every driver tells; one that
// made its queues anew when ours was opened does later.
func (z *zcrx) tells(now time.Time) bool {
	p := &z.pollers
	if p.ours[0] == 0 && z.o.NAPI != nil && now.Sub(p.asked) >= askAgain {
		z.askPoller(now)
	}
	return p.ours[0] != 0
}

// polled reports whether a packet that NAPI instance id polled came in by our queue, if
// that is known; 0 is none.
func (z *zcrx) polled(id uint32, now time.Time) (ours, known bool) {
	p := &z.pollers
	if id == 0 || p.areOurs(id) {
		return id != 0, true
	}
	switch ago := now.Sub(p.asked); {
	case p.others[id] && ago < askAgain:
		return false, true
	case p.vain && ago < askSoon:
		return false, false
	}
	z.askPoller(now)
	if p.vain {
		return false, false
	}
	if p.areOurs(id) {
		return true, true
	}
	if p.others == nil || len(p.others) >= maxOthers {
		p.others = map[uint32]bool{}
	}
	p.others[id] = true
	return false, true
}

//go:build linux

package kernel

import (
	"time"

	"golang.org/x/sys/unix"
)

// Linux 7.2 has been seen, without a device, to leave a request for payload asleep
// though its socket had payload, and the end behind it, and buffers were free: no
// completion said that anything was wrong, and nothing that doubt looks for had
// happened. The sender had nothing more to send that would have woken it. Where that
// can be, the thread enters the kernel now and then, and sockets whose request has
// brought nothing for a while are looked at: who has something to read gets a new
// request.

const (
	// stallEvery is how often sockets are looked at, where the kernel may leave
	// requests asleep; tests do it more often.
	stallEvery = time.Second
	// stallLooks is how many at a time, at most.
	stallLooks = 1024
)

// stallWatch finds such sockets.
type stallWatch struct {
	looked  time.Time
	at      int // slot of the table that was looked at last
	polls   []unix.PollFd
	sockets []*socket // that polls are of
}

// watchesStalls reports whether sockets are to be looked at.
func (z *zcrx) watchesStalls() bool { return z.sleeps && z.l.stallEvery > 0 && z.l.table.used > 0 }

// findStalled is called at a round's end.
func (z *zcrx) findStalled() {
	if !z.watchesStalls() {
		return
	}
	w := &z.stalled
	now := time.Now()
	if now.Sub(w.looked) < z.l.stallEvery {
		return
	}
	w.looked = now
	slots := z.l.table.slots
	for n := len(slots); n > 0 && len(w.polls) < stallLooks; n-- {
		w.at = (w.at + 1) % len(slots)
		s := slots[w.at]
		if s == nil || s.conn == nil || s.ops&reqRecv == 0 || s.cancelling || s.detaching || s.ending {
			continue
		}
		if s.zc.got != s.zc.seen {
			s.zc.seen = s.zc.got // it is not asleep
			continue
		}
		w.polls = append(w.polls, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN | unix.POLLRDHUP})
		w.sockets = append(w.sockets, s)
	}
	if len(w.polls) > 0 {
		z.l.stats.syscalls.Add(1)
		// EINTR, ENOMEM: the next time.
		if n, err := unix.Poll(w.polls, 0); err == nil && n > 0 {
			z.makeAnew()
		}
	}
	clear(w.sockets)
	w.polls, w.sockets = w.polls[:0], w.sockets[:0]
}

// makeAnew gives new requests to those sockets that have something to read.
func (z *zcrx) makeAnew() {
	for i, s := range z.stalled.sockets {
		if z.stalled.polls[i].Revents != 0 {
			z.stats.asleep.Add(1)
			z.doubt(s)
		}
	}
}

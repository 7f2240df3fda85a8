//go:build linux

package kernel

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
)

// wakeDelay bounds how long somebody who blocks on a UDP socket may wait for his
// wake while the loop finds more to receive.
const wakeDelay = 200 * time.Microsecond

// A moderation gathers the wakes of those who block on UDP sockets, as a NIC's
// interrupts are moderated: a wake costs more than several datagrams do, and a burst
// of them would be one each.
type moderation struct {
	sockq.Wakes
	since mono.Time // when the first of them came in; 0: not known
}

// all wakes everybody; the loop is about to sleep.
func (m *moderation) all() {
	m.Wake()
	m.since = 0
}

// busy wakes everybody whose time has come, after a round that found something.
func (m *moderation) busy() {
	if !m.Waiting() {
		return
	}
	switch now := mono.Now(); {
	case m.since == 0:
		m.since = now
	case now.Sub(m.since) >= wakeDelay:
		m.all()
	}
}

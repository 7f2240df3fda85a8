package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// Path MTU discovery (RFC 1191, RFC 8201), and the detection of paths that drop what
// is too long without a word (RFC 4821 section 7.7).
const (
	// pathLife is how long what was learned counts before a larger segment is tried
	// (RFC 1191 section 6.3, RFC 8201 section 5.3).
	pathLife = 10 * time.Minute
	// suspicionLife is the same for what only timeouts have shown, which may have had
	// another cause.
	suspicionLife = time.Minute
	// blackHole is the timeouts in a row of a segment that not each path carries after
	// which shorter ones are tried. RFC 4821 leaves the number open; with Linux's R1 of 3 (tcp_retries1)
	// it is the timeout after three retransmissions.
	blackHole = 4
	// No router makes us send smaller packets: Linux's min_pmtu for IPv4, and what
	// each link carries for IPv6 (RFC 8200 section 5).
	minPathMTU4, minPathMTU6 = 552, 1280
)

// plateaus are packet lengths to try one after the other where nobody says what the
// path carries (RFC 1191 section 7): Ethernet's, then Linux's tcp_base_mss of 1024
// with the headers of IPv4 and TCP.
var plateaus = [...]uint32{1500, 1064}

// pathState is what was learned of the path to the peer.
type pathState struct {
	raise    mono.Time // when a larger segment is tried
	full     uint32    // snd.mss without anything that was learned; 0: it is
	probe    wire.Seq  // where the one that is tried ends, while trying
	soft     uint16    // the errno of the last ICMP error, if nothing was heard since
	trying   bool
	timeouts uint8 // in a row, with a segment at SND.UNA that not each path carries
}

// pathHeaders is what a packet has beside payload: IP, TCP and its options.
func (c *Conn) pathHeaders() uint32 {
	n := uint32(wire.IPv4HeaderLen + wire.TCPHeaderLen)
	if c.tuple.Local.Addr().Is6() {
		n = wire.IPv6HeaderLen + wire.TCPHeaderLen
	}
	if c.opt.timestamps {
		n += timestampsLen
	}
	return n
}

// minPathMTU is the smallest path MTU that is believed.
func (c *Conn) minPathMTU() uint32 {
	if c.tuple.Local.Addr().Is6() {
		return minPathMTU6
	}
	return minPathMTU4
}

// tooBig runs when a router says that packets longer than mtu do not pass; 0: it does
// not say how long they may be. False: it says nothing new.
func (c *Conn) tooBig(now mono.Time, mtu uint32) bool {
	least := c.minPathMTU()
	switch {
	case !c.state.synchronized():
		return false // a SYN is shorter than any MTU
	case mtu == 0 && least == minPathMTU4:
		mtu = c.nextPlateau(c.snd.mss) // RFC 1191 section 4: an old router
	case mtu < least && least == minPathMTU6:
		return false // RFC 8201 section 4
	}
	mtu = max(mtu, least)
	if !c.shorten(now, mtu, pathLife) {
		return false
	}
	c.sh.paths.learn(now, c.tuple.Remote.Addr(), mtu)
	c.sh.Stats.PathMTULowered++
	c.touch()
	return true
}

// shorten makes segments fit packets of mtu bytes for so long, and sends again what
// did not. False: they do already.
func (c *Conn) shorten(now mono.Time, mtu uint32, life time.Duration) bool {
	p := &c.path
	mss := mtu - c.pathHeaders()
	if mss >= c.snd.mss {
		if !p.trying || mss >= p.full {
			return false
		}
		// The segment that was tried is too long, as was to be expected; others may
		// be longer than they were.
		c.probeLost(now)
		c.snd.mss = mss
		c.resendLong(now)
		return true
	}
	if p.full == 0 {
		p.full = c.snd.mss
	}
	c.snd.mss = mss
	p.trying = false
	p.raise = now.Add(life)
	c.resendLong(now)
	return true
}

// nextPlateau is the packet length to try when segments of n bytes do not seem to
// arrive.
func (c *Conn) nextPlateau(n uint32) uint32 {
	return plateauBelow(n+c.pathHeaders(), c.minPathMTU())
}

func plateauBelow(mtu, least uint32) uint32 {
	for _, p := range plateaus {
		if p < mtu && p > least {
			return p
		}
	}
	return least
}

// resendLong sends again what is under way in segments that are too long now. It is
// no sign of congestion, and the window stays as it is (RFC 1191 section 6.5).
func (c *Conn) resendLong(now mono.Time) {
	l := &c.loss
	if c.snd.nxt == c.snd.una {
		return
	}
	c.rtt.cancel()
	c.timers.stop(timerRetransmit) // Output arms it for what is sent again
	if !c.opt.sack {
		l.active, l.resend, l.dupAcks = false, false, 0
		l.recover = c.snd.max
		c.snd.nxt = c.snd.una
		c.certain() // what was sent before the timeout is sent again
		return
	}
	if !c.board.loseLong(c.snd.mss) {
		return
	}
	if !l.active {
		// As after a timeout, whose losses are repaired in this state, but the
		// window was not reduced.
		l.timedOut, l.resend = true, true
		l.recover = c.snd.nxt
	}
	// An ACK of something sent before is no sign that this was needless: nothing
	// that a peer echoes is older than this.
	l.stamped, l.stamp = true, milliseconds(now)-1<<30
	c.certain()
	c.tlp.open, c.tlp.due = false, false
	c.timeReordering(now, 0)
}

// suspect runs at each timeout of the retransmission or persist timer. When the same
// segment is lost time and again the path may drop what is too long without a word. It
// need not be a full one: an application that waits for an answer sends no other, and a
// small window admits no other.
func (c *Conn) suspect(now mono.Time) {
	p := &c.path
	n := uint32(c.snd.max - c.snd.una)
	if c.opt.sack && !c.board.empty() {
		n = c.board.tx.at(c.board.tx.first()).len()
	}
	n = min(n, c.snd.mss)
	// A peer whose window is smaller may drop it, but says so, as it answers each probe.
	// Without a word the window is no reason: an older one, overtaken on its way, may have
	// been the last to arrive.
	answered := (c.snd.wnd < n || c.loss.persisting) && !c.keep.heard.Before(c.snd.lastData)
	if n+c.pathHeaders() <= c.minPathMTU() || answered {
		p.timeouts = 0
		return
	}
	if p.timeouts++; p.timeouts < blackHole {
		return
	}
	p.timeouts = blackHole - 1 // the next timeout is enough for the next step
	if c.shorten(now, c.nextPlateau(n), suspicionLife) {
		c.sh.Stats.BlackHoles++
	}
}

// pathWorks notes that something new was acknowledged.
func (c *Conn) pathWorks() {
	p := &c.path
	p.timeouts = 0
	if p.trying && p.probe.LessEq(c.snd.una) {
		// Nothing of it was sent again: it did pass.
		c.snd.mss = p.full
		p.full, p.raise, p.trying = 0, 0, false
		c.sh.paths.forget(c.tuple.Remote.Addr())
	}
}

// mayProbe reports whether a segment of the full length is to be tried, with avail
// bytes to send and the windows open for usable: what was learned of the path is old
// (RFC 4821 section 7.3). There is more behind it, so that its loss is seen without
// a timeout.
func (c *Conn) mayProbe(now mono.Time, avail, usable uint32) bool {
	p := &c.path
	enough := p.full + dupThresh*c.snd.mss
	return p.full != 0 && !p.trying && !now.Before(p.raise) && !c.loss.active && !c.loss.timedOut &&
		avail >= enough && usable >= enough && c.snd.nxt == c.snd.max
}

// sendPathProbe sends the segment that is tried.
func (c *Conn) sendPathProbe(now mono.Time) {
	p := &c.path
	mss, start := c.snd.mss, c.snd.nxt
	c.snd.mss = p.full
	c.sendData(now, p.full, false)
	c.snd.mss = mss
	if uint32(c.snd.nxt-start) < p.full {
		return // in too many pieces to be sent at once: another one will do
	}
	p.trying, p.probe = true, c.snd.nxt
	c.sh.Stats.PathMTUProbes++
}

// sentAgain notes that [seq, end) is sent again, in segments of the length that is
// known to pass. If the one that was tried is among it, it was lost, or nothing can
// be learned from it any more.
func (c *Conn) sentAgain(now mono.Time, seq, end wire.Seq) {
	if p := &c.path; p.trying && seq.LessThan(p.probe) && (p.probe - wire.Seq(p.full)).LessThan(end) {
		c.probeLost(now)
	}
}

// probeLost ends the trial; the next one is later.
func (c *Conn) probeLost(now mono.Time) {
	c.path.trying = false
	c.path.raise = now.Add(pathLife)
}

package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// SYN cookies (Bernstein 1996; RFC 4987 section 3.6): while as many connections are half
// open as a listener may have, a SYN is answered, and forgotten. What has to be known
// when the answer is acknowledged comes back with it. The sequence number of the SYN-ACK
// is a keyed hash of both ends, the peer's own number and the time, plus which of eight
// segment sizes the peer takes. The options that do not fit there, window scale and
// SACK, are in the low bits of the timestamp that the peer echoes, as Linux has it; a
// peer without timestamps does without them.
//
// Of 2^32 numbers that somebody may guess who has not seen the SYN-ACK, 16 are right, for
// two minutes at most after the last cookie was sent.

const (
	// cookiePeriod is how long the hash of a time lasts. One period more is
	// accepted.
	cookiePeriod  = 64 * time.Second
	cookiePeriods = 2
	// Low bits of a cookie's timestamp: the shift of the peer's window, or noScale,
	// and whether the peer understands SACK.
	cookieSACK  = 1 << 4
	cookieScale = 1<<4 - 1
	cookieBits  = cookieScale | cookieSACK
	noScale     = cookieScale
)

// cookieSizes are the segment sizes that a cookie can say: the peer's is rounded down to
// one of them. The smallest is that which negotiate allows; others are what tunnels
// and PPPoE leave of 1,500 bytes, and jumbo frames.
var cookieSizes = [8]uint16{minMSS, 536, 1220, 1360, 1400, 1440, 1460, 8940}

// cookieSize is the index of the largest that mss, 0 for none, allows.
func cookieSize(mss uint16, t *wire.Tuple) (i int) {
	if mss == 0 {
		mss = defaultMSS6
		if t.Remote.Addr().Is4() {
			mss = defaultMSS4
		}
	}
	for i+1 < len(cookieSizes) && cookieSizes[i+1] <= mss {
		i++
	}
	return i
}

// cookieHash is the cookie of a period, without the size.
func (sh *Shared) cookieHash(t *wire.Tuple, irs wire.Seq, period mono.Time) wire.Seq {
	return wire.Seq(sh.Hasher.HashWith(t, uint64(irs), uint64(period)))
}

func cookieTime(now mono.Time) mono.Time { return now / mono.Time(cookiePeriod) }

// sendCookie answers a SYN and keeps nothing.
func (l *Listener) sendCookie(now mono.Time, in *wire.TCP, t *wire.Tuple) {
	sh, mss, peer := l.Shared, l.MSS(t), &in.Options
	l.cookieAt = now
	h := &sh.header
	*h = wire.TCP{
		SrcPort: t.Local.Port(),
		DstPort: t.Remote.Port(),
		Seq:     sh.cookieHash(t, in.Seq, cookieTime(now)).Add(uint32(cookieSize(peer.MSS, t))),
		Ack:     in.Seq.Add(1),
		Flags:   wire.SYN | wire.ACK,
		Window:  uint16(sh.cookieWindow(mss)),
	}
	h.Options.MSS = uint16(min(mss, 1<<16-1))
	if peer.HasTimestamps {
		o := &h.Options
		o.HasTimestamps, o.TSEcr = true, peer.TSVal
		o.TSVal = cookieTimestamp(clock(now)+tsOffset(sh.Hasher.Hash(t)), peer)
		o.SACKPermitted = peer.SACKPermitted
		if peer.HasWindowScale {
			o.HasWindowScale, o.WindowScale = true, sh.windowShift()
		}
	}
	sh.Stats.CookiesSent++
	sh.Transmit(t.Local.Addr(), t.Remote.Addr(), h, [2][]byte{}, 0)
}

// cookieTimestamp is the last timestamp up to ts with the peer's options in its low
// bits: never later than those of the connection, or PAWS would drop these.
func cookieTimestamp(ts uint32, peer *wire.TCPOptions) uint32 {
	bits := uint32(noScale)
	if peer.HasWindowScale {
		bits = uint32(peer.WindowScale)
	}
	if peer.SACKPermitted {
		bits |= cookieSACK
	}
	c := ts&^cookieBits | bits
	if int32(c-ts) > 0 {
		c -= cookieBits + 1
	}
	return c
}

// cookieWindow is the window that a SYN-ACK without a connection offers. It depends on
// nothing that changes, so that it need not be remembered.
func (sh *Shared) cookieWindow(mss int) uint32 {
	return min(initialWindow(uint32(mss)), uint32(sh.MaxRecvWindow), 1<<16-1)
}

// Complete takes in an ACK for which there is no connection: if it acknowledges a
// cookie that was sent not long ago it completes a handshake, and its connection, dirty,
// is the caller's to put into its table. If taken is false the segment and its frags
// are still the caller's, to be refused.
func (l *Listener) Complete(now mono.Time, s *Segment, t wire.Tuple) (c *Conn, taken bool) {
	sh, h := l.Shared, s.TCP
	if l.closed || l.cookieAt == 0 || now.Sub(l.cookieAt) > cookiePeriods*cookiePeriod {
		return nil, false
	}
	opts, ok := sh.checkCookie(now, h, &t)
	if !ok {
		sh.Stats.CookiesRefused++
		return nil, false
	}
	if l.Full() {
		// The peer believes that it is connected, and will send again.
		sh.Stats.Drops.ListenerFull++
		sh.Pool.PutFrags(s.Frags)
		return nil, true
	}
	sh.Stats.CookiesAccepted++
	l.pending++
	c = newConn(sh, now, t, l.MSS(&t))
	c.listener = l
	c.restore(now, h, &opts)
	c.Input(now, s)
	return c, true
}

// checkCookie judges what h acknowledges, and returns the options of the SYN.
func (sh *Shared) checkCookie(now mono.Time, h *wire.TCP, t *wire.Tuple) (o wire.TCPOptions, ok bool) {
	iss, irs := h.Ack-1, h.Seq-1
	period := cookieTime(now)
	for range cookiePeriods {
		if i := iss - sh.cookieHash(t, irs, period); i < wire.Seq(len(cookieSizes)) {
			o.MSS, ok = cookieSizes[i], true
			break
		}
		period--
	}
	if !ok || !h.Options.HasTimestamps {
		return o, ok
	}
	// Nobody but the peer itself has a use for a wrong echo: it gets the connection
	// that it describes.
	o.HasTimestamps, o.TSVal = true, h.Options.TSVal
	o.SACKPermitted = h.Options.TSEcr&cookieSACK != 0
	if shift := uint8(h.Options.TSEcr & cookieScale); shift <= wire.MaxWindowScale {
		o.HasWindowScale, o.WindowScale = true, shift
	}
	return o, true
}

// restore makes c what it would be in SYN-RECEIVED, had it been kept since the SYN.
func (c *Conn) restore(now mono.Time, h *wire.TCP, syn *wire.TCPOptions) {
	c.snd.iss = h.Ack - 1
	c.snd.una = c.snd.iss
	c.snd.nxt, c.snd.max = h.Ack, h.Ack
	c.rcv.irs, c.rcv.nxt = h.Seq-1, h.Seq
	c.rcv.maxWnd = c.sh.cookieWindow(int(c.rcv.mss))
	c.rcv.adv = c.rcv.nxt.Add(c.rcv.maxWnd)
	c.opt.lastAck = c.rcv.nxt
	c.negotiate(now, syn)
	if c.opt.timestamps {
		// The echo is up to cookieBits older than the SYN-ACK: a cautious sample.
		if ms := int32(c.timestamp(now) - h.Options.TSEcr); ms >= 0 {
			c.rtt.sample(time.Duration(ms) * time.Millisecond)
		}
	}
	c.state = SynReceived
}

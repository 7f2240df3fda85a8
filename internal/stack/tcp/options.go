package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

const (
	// Without an MSS option the peer takes so much (RFC 9293 section 3.7.1).
	defaultMSS4, defaultMSS6 = 536, 1220
	// No peer makes us send smaller segments than this, options included: the
	// cost of a segment is ours (CVE-2019-11479).
	minMSS = 88
	// timestampsLen is what timestamps take of each segment.
	timestampsLen = 12
	// After this long without a segment TS.Recent means nothing (RFC 7323
	// section 5.5).
	timestampLife = 24 * 24 * time.Hour
)

// options are the options of the two SYNs and what became of them.
type options struct {
	timestamps bool // both ends send them; in SYN-SENT: we offer to
	scaling    bool // both windows are scaled; in SYN-SENT: we offer to
	sack       bool // both ends understand SACK; in SYN-SENT: we offer to
	sndShift   uint8
	rcvShift   uint8
	class      uint8 // DSCP of what is sent, where the traffic class has it

	tsOffset   uint32    // what our clock is ahead of now: nobody learns our uptime
	tsRecent   uint32    // TS.Recent of RFC 7323 section 4.3
	tsRecentAt mono.Time // when it was set
	lastAck    wire.Seq  // Last.ACK.sent of RFC 7323 section 4.3
}

// negotiate takes the options of the peer's SYN. We have all of them: what the
// peer has too is used (RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2).
func (c *Conn) negotiate(now mono.Time, peer *wire.TCPOptions) {
	o := &c.opt
	o.timestamps = peer.HasTimestamps
	o.scaling = peer.HasWindowScale
	o.sack = peer.SACKPermitted
	o.sndShift, o.rcvShift = 0, 0
	if o.scaling {
		o.sndShift, o.rcvShift = peer.WindowScale, c.sh.windowShift()
	}
	mss := uint32(peer.MSS)
	if mss == 0 {
		mss = defaultMSS6
		if c.tuple.Remote.Addr().Is4() {
			mss = defaultMSS4
		}
	}
	// RFC 9293 section 3.7.1, RFC 6691: options come off what the MSS says.
	c.snd.mss = min(max(mss, minMSS), c.rcv.mss)
	c.rcv.full = min(defaultMSS4, c.rcv.mss) // until larger ones come
	if o.timestamps {
		c.snd.mss -= timestampsLen
		o.tsRecent, o.tsRecentAt = peer.TSVal, now
	}
}

// synOptions fills in what our SYN offers, or our SYN-ACK confirms.
func (c *Conn) synOptions(o *wire.TCPOptions) {
	o.MSS = uint16(min(c.rcv.mss, 1<<16-1))
	o.SACKPermitted = c.opt.sack
	if c.opt.scaling {
		o.HasWindowScale = true
		o.WindowScale = c.sh.windowShift()
	}
}

// windowShift is the shift that the largest window needs (RFC 7323 section 2.3).
func (sh *Shared) windowShift() (s uint8) {
	for s < wire.MaxWindowScale && sh.MaxRecvWindow>>s > 1<<16-1 {
		s++
	}
	return s
}

// timestamp is our timestamp clock (RFC 7323 section 5.4).
func (c *Conn) timestamp(now mono.Time) uint32 { return clock(now) + c.opt.tsOffset }

// clock counts milliseconds.
func clock(now mono.Time) uint32 { return uint32(now / mono.Time(time.Millisecond)) }

// tsOffset is what a tuple's timestamps are ahead of the clock, by the tuple's hash.
func tsOffset(hash uint64) uint32 { return uint32(hash >> 32) }

// checkTimestamp judges a segment of a connection that uses timestamps, with
// length sequence numbers, and reports whether it is processed further (RFC 7323
// section 3.2, section 5.3 R1).
func (c *Conn) checkTimestamp(now mono.Time, h *wire.TCP, length uint32) bool {
	o := &c.opt
	if !o.timestamps || h.Flags.Has(wire.RST) {
		return true
	}
	if !h.Options.HasTimestamps {
		c.sh.Stats.Drops.NoTimestamp++
		return false
	}
	if older := int32(h.Options.TSVal-o.tsRecent) < 0; older && now.Sub(o.tsRecentAt) < timestampLife {
		c.sh.Stats.Drops.OldTimestamp++
		c.rejected(now, h.Seq, length)
		return false
	}
	return true
}

// takeTimestamp notes the timestamp of an acceptable segment that begins at seq
// (section 5.3 R3). Only one that begins in what was acknowledged counts, so that
// a delayed ACK echoes the oldest (section 4.3).
func (c *Conn) takeTimestamp(now mono.Time, h *wire.TCP, seq wire.Seq) {
	if o := &c.opt; o.timestamps && seq.LessEq(o.lastAck) {
		o.tsRecent, o.tsRecentAt = h.Options.TSVal, now
	}
}

// retakeTimestamp notes the timestamp of a segment whose last byte is the last that
// was acknowledged: our ACK was lost, and the peer has sent its end again. RFC 7323
// section 5.3 R2 drops it unseen, but then the ACK echoes the copy before, and the
// peer takes its own timeout for the round trip time, the more the more ACKs are
// lost. Linux takes it, too.
func (c *Conn) retakeTimestamp(now mono.Time, h *wire.TCP, seq wire.Seq, length uint32) {
	end := seq.Add(length)
	if length > 0 && h.Flags.Has(wire.ACK) && c.opt.lastAck.LessEq(end) && end.LessEq(c.rcv.nxt) {
		c.takeTimestamp(now, h, seq)
	}
}

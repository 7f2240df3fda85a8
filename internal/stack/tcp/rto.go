package tcp

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

const (
	initialRTO = time.Second // RFC 6298 section 2.1
	// RFC 6298 section 2.4 has a minimum of 1 s and calls it conservative. Linux has had 200 ms
	// for decades, of what the timeout is beyond the round trip: on a long path that is steady, too,
	// it leaves time for an ACK that the peer delays.
	minRTO = 200 * time.Millisecond
	maxRTO = time.Minute // section 2.5
	// handshakeRTO follows a handshake that needed its timer (section 5.7).
	handshakeRTO = 3 * time.Second
)

// rttEstimator computes the retransmission timeout (RFC 6298). One segment a round
// trip is timed by our own clock, to the nanosecond; timestamps are used where
// that does not work, after a retransmission.
type rttEstimator struct {
	srtt, rttvar time.Duration // srtt 0: no sample yet
	rto          time.Duration
	backoff      uint8 // times that rto is doubled

	timing bool
	end    wire.Seq // the ACK that ends the measurement
	since  mono.Time
}

func (r *rttEstimator) init() { r.rto = initialRTO }

// start times the segment that ends at end, unless one is timed.
func (r *rttEstimator) start(now mono.Time, end wire.Seq) {
	if !r.timing {
		r.timing, r.end, r.since = true, end, now
	}
}

// cancel gives the measurement up: something was retransmitted, and an ACK would
// not tell which copy it is for (Karn's algorithm, section 3).
func (r *rttEstimator) cancel() { r.timing = false }

// acked ends the measurement if ack covers it, and returns its result; 0: none.
func (r *rttEstimator) acked(now mono.Time, ack wire.Seq) time.Duration {
	if !r.timing || ack.LessThan(r.end) {
		return 0
	}
	r.timing = false
	return r.sample(now.Sub(r.since))
}

// sample is section 2.2 and 2.3, with the order of the two assignments that the
// RFC insists on, and ends the backing off (section 5.7 and Karn). It returns the sample.
func (r *rttEstimator) sample(rtt time.Duration) time.Duration {
	rtt = max(rtt, 1)
	if r.srtt == 0 {
		r.srtt, r.rttvar = rtt, rtt/2
	} else {
		r.rttvar += ((r.srtt - rtt).Abs() - r.rttvar) / 4
		r.srtt += (rtt - r.srtt) / 8
	}
	r.rto = min(r.srtt+max(minRTO, 4*r.rttvar), maxRTO)
	r.backoff = 0
	return rtt
}

// timeout is the timer's value now, backed off.
func (r *rttEstimator) timeout() time.Duration {
	return min(r.rto<<r.backoff, maxRTO)
}

// backOff doubles the timeout (section 5.5).
func (r *rttEstimator) backOff() {
	if r.rto<<r.backoff < maxRTO {
		r.backoff++
	}
}

// afterHandshake: if the SYN had to be repeated there is no sample, and the
// guess of one second may have been too short (section 5.7).
func (r *rttEstimator) afterHandshake() {
	if r.srtt == 0 {
		r.rto = handshakeRTO
	}
	r.backoff = 0
}

// measure takes a sample from an ACK of something new, if it yields one, and only one,
// and returns it; 0: none. known is the round trip of what it covers that was sent only once; 0: there
// is nothing, or it is not known.
func (c *Conn) measure(now mono.Time, h *wire.TCP, known time.Duration) time.Duration {
	if rtt := c.rtt.acked(now, h.Ack); rtt != 0 {
		return rtt
	}
	if c.rtt.timing {
		return 0
	}
	if known != 0 {
		return c.rtt.sample(known)
	}
	if !c.opt.timestamps || h.Options.TSEcr == 0 {
		return 0
	}
	// RFC 7323 section 4: the echo tells which copy was received.
	if ms := int32(c.timestamp(now) - h.Options.TSEcr); ms >= 0 {
		return c.rtt.sample(time.Duration(ms) * time.Millisecond)
	}
	return 0
}

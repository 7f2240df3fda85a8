package tcp

import (
	"math"
	"time"

	"github.com/zctap/zctap/internal/wire"
)

// The constants of RFC 9406 section 4.3.
const (
	hystartMinThresh = 4 * time.Millisecond
	hystartMaxThresh = 16 * time.Millisecond
	hystartDivisor   = 8
	hystartSamples   = 8
	cssDivisor       = 4
	cssRounds        = 5
)

// noRTT stands for a minimum of no samples.
const noRTT = time.Duration(math.MaxInt64)

// hystart is HyStart++ (RFC 9406): it ends the first slow start when round trips
// become longer, before a loss does. First comes conservative slow start, which is
// left again if they become shorter.
//
// Section 4.2 has senders that don't pace count at most 8 segments of an ACK. We
// count all, as outside of it: see reno.
type hystart struct {
	began      bool
	css        bool
	rounds     uint8 // of conservative slow start
	samples    uint8 // of the round trip time in this round, up to hystartSamples
	end        wire.Seq
	last, this time.Duration // smallest round trip of the last round and of this one
	baseline   time.Duration // of the round that began conservative slow start
}

func newHyStart() hystart { return hystart{last: noRTT, this: noRTT, baseline: noRTT} }

// acked returns by how many bytes the window grows, and whether slow start is over.
func (h *hystart) acked(a *ackInfo) (n uint32, over bool) {
	if !h.began || h.end.LessEq(a.una) {
		if over = h.css && h.endOfRound(); over {
			return 0, true
		}
		h.began, h.end = true, a.nxt
		h.last, h.this, h.samples = h.this, noRTT, 0
	}
	if a.rtt > 0 {
		h.this = min(h.this, a.rtt)
		h.samples = min(h.samples+1, hystartSamples)
		h.judge()
	}
	if h.css {
		return a.bytes / cssDivisor, false
	}
	return a.bytes, false
}

// endOfRound counts the round of conservative slow start that is over, also if it
// was part of one, and reports whether it was the last.
func (h *hystart) endOfRound() bool {
	h.rounds++
	return h.rounds >= cssRounds
}

// judge compares the round trips of this round, once there are enough of them.
func (h *hystart) judge() {
	switch {
	case h.samples < hystartSamples:
	case h.css:
		if h.this < h.baseline {
			h.css, h.baseline = false, noRTT // it was no queue
		}
	case h.last != noRTT:
		thresh := max(hystartMinThresh, min(h.last/hystartDivisor, hystartMaxThresh))
		if h.this >= h.last+thresh {
			h.css, h.baseline, h.rounds = true, h.this, 0
		}
	}
}

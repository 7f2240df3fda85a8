package stack

import (
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// A limiter is a token bucket. It bounds what strangers can make us send: the
// answers to packets that belong to no flow.
type limiter struct {
	interval time.Duration // between two tokens
	burst    int64         // most tokens
	chance   func() uint32 // random; nil: the burst is always as large
	tokens   int64
	last     mono.Time // when tokens was right
}

func newLimiter(perSecond, burst int64) limiter {
	return limiter{interval: time.Second / time.Duration(perSecond), burst: burst, tokens: burst}
}

// random makes the size of a burst unpredictable.
func (l limiter) random(chance func() uint32) limiter {
	l.chance = chance
	return l
}

// take takes a token, or reports that there is none.
func (l *limiter) take(now mono.Time) bool {
	if due := int64(now.Sub(l.last) / l.interval); due > 0 {
		if l.tokens += due; l.tokens >= l.burst {
			l.tokens = l.burst
			if l.chance != nil {
				// Between half of it and all. Strangers share the bucket: who counted
				// its own answers would know whether a packet that it sent in another's
				// name was answered (CVE-2016-5696, CVE-2020-25705).
				l.tokens -= int64(l.chance()) % (l.burst/2 + 1)
			}
			l.last = now
		} else {
			l.last = l.last.Add(time.Duration(due) * l.interval)
		}
	}
	if l.tokens == 0 {
		return false
	}
	l.tokens--
	return true
}

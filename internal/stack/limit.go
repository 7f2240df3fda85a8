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
	tokens   int64
	last     mono.Time // when tokens was right
}

func newLimiter(perSecond, burst int64) limiter {
	return limiter{interval: time.Second / time.Duration(perSecond), burst: burst, tokens: burst}
}

// take takes a token, or reports that there is none.
func (l *limiter) take(now mono.Time) bool {
	if due := int64(now.Sub(l.last) / l.interval); due > 0 {
		if l.tokens += due; l.tokens >= l.burst {
			l.tokens = l.burst
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

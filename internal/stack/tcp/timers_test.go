package tcp

import (
	"testing"

	"github.com/zctap/zctap/internal/mono"
)

// TestDeadlines: the delayed ACK is told of once each time it is armed, and each other timer
// counts.
func TestDeadlines(t *testing.T) {
	for i := range numTimers {
		c := &Conn{ackTold: true}
		if ack, others := c.Deadlines(); ack != 0 || others != 0 {
			t.Fatalf("%d and %d of no timers", ack, others)
		}
		for j := range numTimers {
			c.timers.set(j, mono.Time(100+j))
		}
		const now = 50
		c.timers.set(i, 10)
		if i == timerDelayedAck {
			c.delayAck(now)
		}
		ack, others := c.Deadlines()
		switch {
		case i == timerDelayedAck:
			if ack != mono.Time(now).Add(delayedAck) || others != 100 || !c.DelayedAckAt(ack) {
				t.Errorf("%d and %d, want the delayed ACK's and 100", ack, others)
			}
		case ack != 0 || others != 10:
			t.Errorf("timer %d: %d and %d, want 0 and 10", i, ack, others)
		}
		if again, _ := c.Deadlines(); again != 0 {
			t.Error("the delayed ACK is told of again")
		}
	}
}

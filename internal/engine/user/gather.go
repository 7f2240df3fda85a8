package user

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack"
)

// Who receives datagrams one by one as they come sleeps and wakes for each, and that
// costs more than all else. When they come fast enough the engine lets them gather
// instead, as a NIC that moderates its interrupts. Only where nothing is sent: who
// waits for an answer, or an ACK, sends no more until it comes.
const (
	// gatherTime is how long datagrams may gather: no longer than a wake may be late.
	gatherTime = wakeDelay
	// gatherFrames is how many have to come in that time.
	gatherFrames = 8
)

// gathering watches how fast datagrams come. The loop's.
type gathering struct {
	wire driver.Lingerer // nil: it cannot

	before stack.Traffic
	since  mono.Time // when frames began to be counted; 0: they are not
	frames uint64
	dense  bool // so many came that more may gather, once
}

// received notes what the stack has taken in and sent by now, after a batch.
func (g *gathering) received(now mono.Time, t stack.Traffic) {
	n := t.Frames - g.before.Frames
	others := t.Datagrams-g.before.Datagrams < n || t.Sent != g.before.Sent
	g.before = t
	if others {
		g.since, g.frames, g.dense = 0, 0, false
		return
	}
	if g.since == 0 || now.Sub(g.since) > gatherTime {
		g.since, g.frames, g.dense = now, 0, false
	}
	if g.frames += n; g.frames >= gatherFrames {
		g.since, g.frames, g.dense = now, 0, true
	}
}

// take reports whether to let datagrams gather now. It takes a batch to do so again.
func (g *gathering) take() bool {
	dense := g.dense && g.wire != nil
	g.dense = false
	return dense
}

// wait sleeps until there is something to do or, where datagrams may gather, for a
// moment.
func (e *Engine) wait(now mono.Time) error {
	until := e.stack.Next()
	if !e.gathering.take() || e.stack.Stalled() {
		return e.driver.Wait(until)
	}
	e.rounds.lingers++
	if end := now.Add(gatherTime); until == 0 || end.Before(until) {
		until = end
	}
	return e.gathering.wire.Linger(until)
}

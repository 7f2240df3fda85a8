package user

import (
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/stack"
)

// gatherTarget is how many datagrams are to come while they gather: for so many the
// sleeps and wakes of two threads cost little each, and it is a part only of what
// drivers have room for.
const gatherTarget = 128

// A gathering lets datagrams gather in the driver, where nothing but datagrams comes,
// and only where nothing is sent: who waits for an answer, or an ACK, sends no more
// until it comes. The loop's.
type gathering struct {
	engine.Gathering
	slice  engine.TimeSlice
	wire   driver.Lingerer // nil: it cannot
	before stack.Traffic
}

func (g *gathering) init(d driver.Driver) {
	g.wire, _ = d.(driver.Lingerer)
	if g.wire == nil {
		return
	}
	g.Target = gatherTarget
	if posted := d.Caps().RxPosted; posted > 0 {
		g.Target = min(g.Target, posted/4)
	}
}

// received notes what the stack has taken in and sent by now, after a batch.
func (g *gathering) received(now mono.Time, t stack.Traffic) {
	n := t.Datagrams - g.before.Datagrams
	others := n < t.Frames-g.before.Frames || t.Sent != g.before.Sent
	g.before = t
	if others {
		g.Interrupt()
		return
	}
	g.Received(now, int(n))
}

// wait sleeps until there is something to do or, where datagrams may gather, for a
// moment.
func (e *Engine) wait(now mono.Time) error {
	until := e.stack.Next()
	gather := e.gathering.Take(now)
	if gather == 0 || e.stack.Stalled() {
		return e.driver.Wait(until)
	}
	e.rounds.lingers++
	e.gathering.slice.Renew(now)
	if end := now.Add(gather); until == 0 || end.Before(until) {
		until = end
	}
	return e.gathering.wire.Linger(until)
}

package user

import (
	"runtime"
	"time"

	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/sockq"
)

// What one round takes in before it acknowledges and wakes: enough to make one
// ACK and one wake worth while, few enough bytes that they stay in the cache
// until the application has them and that the sender does not run dry meanwhile.
// An ACK of many frames of MTU size draws as many at once, which queues on their
// way have to hold: that of veth has 256 entries and is emptied 64 at a time, as
// the kernel does everywhere (NAPI_POLL_WEIGHT).
const (
	batchFrames = 64
	batchFrags  = 512 // each driver needs room for its largest frame: up to 18
	batchBytes  = 1 << 20
)

// rounds counts what the loop did; the loop's.
type rounds struct {
	batches uint64 // that brought frames
	sleeps  uint64
	kicks   uint64 // sleeps that another goroutine ended
	yields  uint64 // see giveWay
	lingers uint64 // sleeps that let datagrams gather
	pauses  uint64 // sleeps while a stream is fast
}

// loop is the engine's goroutine. It keeps its thread: what it works on stays in
// one core's cache as long as the system leaves it there, and its blocking in the
// driver takes no thread from the scheduler's hands.
func (e *Engine) loop() {
	runtime.LockOSThread()
	e.thread = sockq.CurrentThread()
	defer close(e.done)
	e.end(e.serve())
	e.wakes.Stop()
}

// serve runs rounds until there is a cause to stop, and sleeps only after one
// that found nothing to do. The error is the driver's.
func (e *Engine) serve() error {
	for {
		now := mono.Now()
		busy, err := e.round(now)
		if err != nil || e.cause != nil {
			return err
		}
		if e.overrun {
			e.giveWay()
			continue
		}
		if busy {
			e.wakeInTime(now)
			continue
		}
		e.wakeAll()
		if err := e.sleep(now); err != nil {
			return err
		}
	}
}

// wakeDelay bounds how long somebody who blocks on a connection may wait for his
// wake while the engine finds more to do.
const wakeDelay = 200 * time.Microsecond

// wakeInTime wakes those whose time has come, after a round that was busy: the
// next one will most likely bring them more.
func (e *Engine) wakeInTime(now mono.Time) {
	switch {
	case !e.wakes.Waiting():
	case e.wakeSince == 0:
		e.wakeSince = now
	case now.Sub(e.wakeSince) >= wakeDelay:
		e.wakeAll()
	}
}

// giveWay lets those run who are to take what the engine receives, after a round
// that had to drop some of it: a receiver that works on while its consumer does not
// get the CPU works in vain (receive livelock: Mogul and Ramakrishnan 1997).
func (e *Engine) giveWay() {
	e.overrun = false
	e.rounds.yields++
	e.wakeAll()
	yield()
}

// wakeAll wakes whoever is to be woken.
func (e *Engine) wakeAll() {
	e.wakes.Wake()
	e.wakeSince = 0
}

// round does what there is to do, and reports whether there was anything.
func (e *Engine) round(now mono.Time) (busy bool, err error) {
	e.pool.Reclaim()
	err = e.driver.Poll(now, e.batch)
	if len(e.batch.Frames) > 0 {
		busy = true
		e.rounds.batches++
		e.setEpoch(now)
		overrun := e.stack.Overrun()
		e.stack.Deliver(now, e.batch)
		e.overrun = e.stack.Overrun() > overrun
		e.gathering.received(now, e.stack.Traffic())
		e.streaming.received(now, e.stack.Traffic())
	}
	if err != nil {
		return false, err
	}
	if e.commands.run(now) {
		busy = true
		if e.cause != nil {
			return true, nil // closed
		}
	}
	if e.returned.Load() {
		// Before the windows are looked at: what comes back later sets it again.
		e.returned.Store(false)
		busy = true
	}
	e.stack.WindowCheck()
	e.stack.Advance(now)
	if err := e.stack.Flush(now); err != nil {
		return busy, err
	}
	if e.config.CQ != nil {
		e.config.CQ.Dispatch(e.thread)
	}
	return busy, nil
}

// epochAge is how long the wall clock counts as known: it may be set.
const epochAge = 100 * time.Millisecond

// setEpoch tells the stack what time it is on the wall, for time stamps.
func (e *Engine) setEpoch(now mono.Time) {
	if e.epochAt == 0 || now.Sub(e.epochAt) > epochAge {
		e.epochAt = now
		e.stack.SetEpoch(mono.Epoch())
	}
}

// sleep waits for something to do: frames, room on the wire, a command, a
// timer, or buffers, if the lack of them keeps a window closed.
func (e *Engine) sleep(now mono.Time) error {
	e.doze.Begin()
	// Only now the last looks: see wake.
	if e.stack.Constrained() {
		e.pool.WantReturn()
		e.stack.WindowCheckAll()
		if err := e.stack.Flush(now); err != nil {
			return err
		}
	}
	if !e.commands.empty() || e.returned.Load() || e.config.CQ != nil && e.config.CQ.Ready() {
		e.doze.End()
		return nil
	}
	e.rounds.sleeps++
	err := e.rest(now)
	if e.doze.End() {
		e.rounds.kicks++
	}
	return err
}

package user

import (
	"net"
	"time"

	"github.com/zctap/zctap/internal/mono"
)

// lastFlush bounds how long Close waits for a full wire to take the resets.
const lastFlush = 100 * time.Millisecond

// end is the last that the loop does: after it, who calls the engine runs
// commands itself. err is what the driver failed with, nil if the engine was
// closed.
func (e *Engine) end(err error) {
	e.after.Lock()
	defer e.after.Unlock()
	now := mono.Now()
	if err == nil && e.cause != net.ErrClosed {
		err = e.cause // of Fail
	}
	if err != nil {
		e.fail(now, err)
	} else {
		e.shut(now)
	}
	e.stack.DropFragments()
	e.driver.Stats(&e.driverStats)
	e.closeErr = e.driver.Close()
	// Before the last run: see post.
	e.ended.Store(true)
	e.commands.run(now)
}

// Close resets every connection, closes every socket, ends the goroutine and
// closes the driver, whose error it returns. Afterwards the engine holds no
// kernel reference. Idempotent; any goroutine.
func (e *Engine) Close() error {
	e.do(func(now mono.Time) {
		failed := e.cause != nil && e.cause != net.ErrClosed
		e.cause = net.ErrClosed
		e.failure.Store(nil)
		if failed {
			e.shut(now)
		}
	})
	<-e.done
	return e.closeErr
}

// fail ends everything that the application uses with err. What connections have
// received may still be taken.
func (e *Engine) fail(now mono.Time, err error) {
	e.cause = err
	e.failure.Store(&err)
	for l := range e.listeners {
		l.backlog.Abort(err)
	}
	for p := range e.packets {
		p.socket.Send.Close()
		p.socket.Queue.Abort(err)
	}
	for _, c := range e.stack.Conns() {
		c.Fail(now, err)
		c.Publish()
	}
	e.stack.DropTimeWaits()
	if e.config.CQ != nil {
		e.config.CQ.Fail(err)
	}
}

// shut ends everything and takes back what the application did not take. The
// peers are told, if the wire is still there.
func (e *Engine) shut(now mono.Time) {
	for l := range e.listeners {
		l.stop(now)
	}
	for p := range e.packets {
		p.shut()
		p.drain(now)
	}
	for c := range e.conns {
		c.shut()
		c.abort(now)
	}
	for _, c := range e.stack.Conns() {
		c.Abort(now)
	}
	e.stack.DropTimeWaits()
	if e.ended.Load() {
		return // the wire is gone
	}
	limit := now.Add(lastFlush)
	for e.stack.Flush(now) == nil && e.stack.Stalled() && now.Before(limit) {
		if e.driver.Wait(now.Add(time.Millisecond)) != nil {
			return
		}
		now = mono.Now()
	}
}

//go:build linux

package zctap_test

import (
	"errors"
	"os"
	"time"

	"github.com/zctap/zctap"
)

// collector receives from flows by completions, in one goroutine.
type collector struct {
	*guest
	flows  []*flow
	open   int   // flows that have not ended
	got    int   // bytes
	copied int64 // bytes of views that say so
	empty  int   // notices that no buffer was free
	keep   bool  // views are kept in flow.held, and not released
}

// noticed is the user data of the fill ring's notices.
const noticed = 1 << 32

func (g *guest) collect(flows []*flow) *collector {
	c := &collector{guest: g, flows: flows, open: len(flows)}
	for i, f := range flows {
		g.ok(f.c.Arm(uint64(i)))
	}
	g.ok(g.q.ArmNotices(noticed))
	return c
}

// run takes completions until all flows have ended, or for idle there was none.
func (c *collector) run(idle time.Duration) {
	c.Helper()
	c.while(idle, func() bool { return true })
}

// until takes completions until a condition holds, or all flows have ended.
func (c *collector) until(ok func() bool) {
	c.Helper()
	c.while(guestPatience, func() bool { return !ok() })
}

func (c *collector) while(idle time.Duration, goOn func() bool) {
	c.Helper()
	cqes := make([]zctap.Completion, 64)
	for c.open > 0 && goOn() {
		c.q.SetWaitDeadline(time.Now().Add(idle))
		n, err := c.q.Wait(cqes)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		c.ok(err)
		for i := range cqes[:n] {
			c.take(&cqes[i])
		}
	}
}

func (c *collector) take(e *zctap.Completion) {
	c.Helper()
	if e.Flags&zctap.Notif != 0 {
		if e.Flags&zctap.Empty != 0 {
			c.empty++
		}
		return
	}
	f := c.flows[e.UserData]
	for i := range e.Iovs {
		if e.Iovs[i].Copied() {
			c.copied += int64(e.Iovs[i].Len())
		}
	}
	f.check(e.Iovs)
	c.got += max(e.Res, 0)
	if c.keep {
		f.held = append(f.held, e.Iovs...)
	} else {
		c.release(e.Iovs)
	}
	if e.Flags&zctap.More == 0 {
		c.open--
		if e.Res != 0 || f.got != f.size {
			c.Errorf("the end after %d of %d bytes: %v", f.got, f.size, e.Err())
		}
	}
}

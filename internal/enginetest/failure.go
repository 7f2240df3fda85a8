package enginetest

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap"
)

// An engine that fails ends every call that waits with its reason. What is armed
// gets a last completion, once, and Wait has nothing more to wait for.
func testFailure(f *fixture) {
	if f.Break == nil {
		return
	}
	if f.Handled {
		testHandlerFailure(f)
		return
	}
	f.open(zctap.Config{})
	packet := func() *zctap.PacketConn {
		p, err := f.q.ListenPacket("udp", ":0")
		f.ok(err)
		f.Cleanup(func() { p.Close() })
		f.ok(p.SetDeadline(time.Now().Add(patience)))
		return p
	}
	conn := func() *zctap.Conn {
		c, _ := f.connect()
		return c
	}
	armed := []interface{ Arm(uint64) error }{conn(), f.listen(), packet()}
	for i, s := range armed {
		f.ok(s.Arm(uint64(i)))
	}
	f.ok(f.q.ArmNotices(uint64(len(armed))))
	c, ln, p := conn(), f.listen(), packet()
	ended := make(chan error, 3)
	go func() { _, err := c.RecvZC(make([]zctap.Iov, 1)); ended <- err }()
	go func() { _, err := ln.AcceptZC(); ended <- err }()
	go func() { _, err := p.RecvFromZC(make([]zctap.Iov, 1), make([]zctap.Datagram, 1)); ended <- err }()
	f.Break(f)

	for range cap(ended) {
		f.wantReason("a call that was blocked", <-ended)
	}
	f.wantLast(len(armed))
	if n, err := ln.AcceptZC(); err == nil {
		f.Errorf("AcceptZC, later: %v", n)
	} else {
		f.wantReason("AcceptZC, later", err)
	}
	// Armed again, each says it again.
	for i, s := range armed {
		f.ok(s.Arm(uint64(i)))
	}
	f.wantLast(len(armed))
}

// wantLast takes the last completion of each of n sources, and the end of Wait.
func (f *fixture) wantLast(n int) {
	f.Helper()
	seen := make([]int, n)
	cqes := make([]zctap.Completion, 1)
	for {
		k, err := f.waitFor(cqes)
		if err != nil {
			f.wantReason("Wait", err)
			break
		}
		for i := range cqes[:k] {
			cqe := &cqes[i]
			if cqe.Flags&zctap.Notif != 0 {
				continue
			}
			seen[cqe.UserData]++
			if cqe.Err() == nil || cqe.Flags != 0 {
				f.Errorf("completion of source %d: %+v", cqe.UserData, cqe)
			}
		}
	}
	for i, k := range seen {
		if k != 1 {
			f.Errorf("source %d completed %d times", i, k)
		}
	}
}

// wantReason checks that err is an engine's failure, not an end that the
// application brought about.
func (f *fixture) wantReason(what string, err error) {
	f.Helper()
	if err == nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
		f.Errorf("%s: %v", what, err)
	}
}

// A handler gets the last completions, once each; what is armed later fails.
func testHandlerFailure(f *fixture) {
	f.open(zctap.Config{})
	p, err := f.q.ListenPacket("udp", ":0")
	f.ok(err)
	defer p.Close()
	c, _ := f.connect()
	armed := []interface{ Arm(uint64) error }{c, f.listen(), p}
	var seen [3]atomic.Int32
	f.handle(func(cqes []zctap.Completion) {
		for i := range cqes {
			cqe := &cqes[i]
			seen[cqe.UserData].Add(1)
			if cqe.Err() == nil || cqe.Flags != 0 {
				f.Errorf("completion of source %d: %+v", cqe.UserData, cqe)
			}
			if cqe.UserData == 0 {
				f.noError("close", c.Close())
			}
		}
	})
	for i, s := range armed {
		f.ok(s.Arm(uint64(i)))
	}
	f.Break(f)
	for i := range seen {
		f.eventually("a source has its last completion", func() bool { return seen[i].Load() > 0 })
	}
	for _, s := range armed[1:] {
		f.wantReason("Arm, later", s.Arm(9))
	}
	if err := f.q.Handle(func([]zctap.Completion) {}); err == nil {
		f.Error("a handler for an engine that has failed")
	}
	f.ok(f.q.Handle(nil))
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			f.Errorf("source %d completed %d times", i, n)
		}
	}
	for i, s := range armed[1:] {
		f.ok(s.Arm(uint64(i)))
	}
	f.wantLast(2)
}

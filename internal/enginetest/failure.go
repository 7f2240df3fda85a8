package enginetest

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/zctap/zctap"
)

// An engine that fails ends every call that waits with its reason. What is armed
// gets a last completion, once, and Wait has nothing more to wait for.
func testFailure(f *fixture) {
	if f.Break == nil {
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
	f.q.SetWaitDeadline(time.Now().Add(patience))
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
		k, err := f.q.Wait(cqes)
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

package enginetest

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/zctap/zctap"
)

func testArmedExcludes(f *fixture) {
	f.open(zctap.Config{})
	c, p := f.connect()
	f.ok(c.Arm(1))
	if err := c.Arm(2); !errors.Is(err, syscall.EBUSY) {
		f.Errorf("second Arm: %v", err)
	}
	if _, err := c.RecvZC(make([]zctap.Iov, 1)); !errors.Is(err, syscall.EBUSY) {
		f.Errorf("RecvZC while armed: %v", err)
	}
	c.Disarm()
	_, err := p.Write([]byte("x"))
	f.ok(err)
	iovs := make([]zctap.Iov, 1)
	n, err := c.RecvZC(iovs)
	f.ok(err)
	f.release(iovs[:n])
	f.ok(c.Close())
	if err := c.Arm(3); !errors.Is(err, net.ErrClosed) {
		f.Errorf("Arm after Close: %v", err)
	}
}

// What is disarmed completes no more, also what has come already: it is received
// otherwise. And it can be armed again.
func testDisarm(f *fixture) {
	f.open(zctap.Config{})
	ln := f.listen()
	c, p := f.connect()
	packet, from, to := f.packets()
	armed := []interface {
		Arm(userData uint64) error
		Disarm()
	}{c, ln, packet}
	before := f.q.Stats()
	come := func() {
		_, err := p.Write([]byte("stream"))
		f.ok(err)
		_, err = from.WriteTo([]byte("datagram"), to)
		f.ok(err)
		f.dialQueue(ln)
	}
	for i, s := range armed {
		f.ok(s.Arm(uint64(i)))
	}
	come()
	f.eventually("all has come", func() bool {
		s := f.q.Stats()
		return c.Buffered() == 6 && s.Conns > before.Conns && s.Events["datagrams-received"] == before.Events["datagrams-received"]+1
	})
	for _, s := range armed {
		s.Disarm()
		s.Disarm() // no more than once
	}
	iovs, dgrams := make([]zctap.Iov, 4), make([]zctap.Datagram, 1)
	n, err := c.RecvZC(iovs)
	f.ok(err)
	f.release(iovs[:n])
	_, err = packet.RecvFromZC(iovs, dgrams)
	f.ok(err)
	f.release(iovs[:dgrams[0].Iovs])
	a, err := ln.AcceptZC()
	f.ok(err)
	f.ok(a.Close())

	const again = 10
	for i, s := range armed {
		f.ok(s.Arm(uint64(again + i)))
	}
	come()
	got := map[uint64]int{}
	for bytes := 0; len(got) < len(armed) || bytes < 6; {
		cqe := f.wait()
		f.ok(cqe.Err())
		if cqe.Flags&zctap.More == 0 || cqe.UserData < again {
			f.Fatalf("%+v", cqe)
		}
		if cqe.UserData == again {
			bytes += cqe.Res
		}
		if cqe.Conn != nil {
			f.ok(cqe.Conn.Close())
		}
		got[cqe.UserData] = cqe.Res
		f.release(cqe.Iovs)
	}
	if got[again+1] != 0 || got[again+2] != len("datagram") {
		f.Errorf("completions %v", got)
	}
	f.ok(ln.Close())
	ln.Disarm()
	if err := ln.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		f.Errorf("a deadline after Close: %v", err)
	}
}

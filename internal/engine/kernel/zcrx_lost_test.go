//go:build linux

package kernel

import (
	"errors"
	"io"
	"net/netip"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ksock"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/uring"
)

// A buffer that has as many references as it can count takes no more: payload in
// it is copied out, and if that can't be, its connection ends with an error.
// Each piece is due to the kernel all the same, and nothing is pushed behind a
// gap.
func TestZCRXCountedOut(t *testing.T) {
	const most = 1<<16 - 1 // kernel references of one buffer
	for _, reserve := range []int{0, 1} {
		cfg := newConfig(t, 1+reserve)
		z := &zcrx{rq: new(uring.RQ), unit: 4096, per: 1, total: 1, shift: 12, o: noDevice}
		z.l = newLoop(cfg, tuning{perCall: 1, messages: 1, perMsg: 1, tails: 1})
		z.l.back, z.recv = z, z
		z.records.init(1, 12)
		cfg.Pool.Lend(1)
		for range most {
			if _, err := cfg.Pool.Land([]buf.Frag{buf.Landed(0, 0, 1)}); err != nil {
				t.Fatal(err)
			}
		}
		sock, err := ksock.Packet("udp", netip.AddrPortFrom(loopback4, 0), netip.AddrPort{}, false)
		if err != nil {
			t.Fatal(err)
		}
		c := &conn{queue: sockq.NewQueue(cfg.Pool)}
		c.init(z.l, sock)
		c.conn = c
		z.l.table.add(&c.socket)
		z.begin(&c.socket)
		z.batch.begin(1)

		z.deliver(c, uring.ZCData{Token: 100, Len: 10})
		z.deliver(c, uring.ZCData{Token: 200, Len: 20})
		c.queue.Publish()
		if z.dues.len() != 2 || z.records.out != 0 {
			t.Errorf("reserve %d: %d pieces are due, %d buffers out", reserve, z.dues.len(), z.records.out)
		}
		iovs := make([]buf.Iov, 4)
		n, got, _, err := c.queue.Poll(iovs, 1000)
		if reserve == 1 {
			if got != 30 || err != nil || c.account.Held() != 1 {
				t.Errorf("%d bytes, %v; %d buffers held", got, err, c.account.Held())
			}
		} else if got != 0 || !errors.Is(err, syscall.ENOBUFS) || err == io.EOF || z.stats.lost.Load() != 30 {
			t.Errorf("%d bytes, %v; %d lost", got, err, z.stats.lost.Load())
		}
		if _, err := cfg.Pool.Return(iovs[:n]); err != nil {
			t.Error(err)
		}
		z.l.closeTails()
		z.l.putStock()
		for range most {
			cfg.Pool.Put(0)
		}
		sock.Close()
	}
}

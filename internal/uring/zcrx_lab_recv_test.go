//go:build linux

package uring

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLabZCRXReceive: all bytes of a stream longer than the area come in, right, and the stream's end is told, with the
// refill ring in either kind of memory.
func TestLabZCRXReceive(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	for _, ownMemory := range []bool{false, true} {
		onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
			z := newZCRX(t, r, 132, func(c *ZCRXConfig) {
				if ownMemory {
					c.RefillMemory = memory(t, RefillSize(128))
					for i := range c.RefillMemory {
						c.RefillMemory[i] = 0x5a // indices that were left there must not matter
					}
				}
			})
			if z.q.BufferSize() != page || z.q.Areas() != 1 || z.q.AreaSize(0) != len(z.area) || z.q.Refill().Capacity() != 128 {
				t.Errorf("buffers of %d, %d areas, refill ring of %d", z.q.BufferSize(), z.q.Areas(), z.q.Refill().Capacity())
			}
			want := pattern(2*len(z.area) + 1)
			a, b := tcpPair(t)
			feed(t, b, want)
			if got, res := z.receive(a, want, 0); got != len(want) || res != 0 {
				t.Errorf("received %d of %d, ended with %d", got, len(want), res)
			}
			if z.data < len(want)/page {
				t.Errorf("%d bytes in %d completions: without a device none holds more than a page", len(want), z.data)
			}
		})
	}
}

// TestLabZCRXSmallRefill: with a refill ring that is smaller than the area, and returns that are flushed only when it is
// full, all comes in.
func TestLabZCRXSmallRefill(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 132, func(c *ZCRXConfig) { c.RefillEntries = 16 })
		z.lazy = true
		want := pattern(2 * len(z.area))
		a, b := tcpPair(t)
		feed(t, b, want)
		if got, res := z.receive(a, want, 0); got != len(want) || res != 0 {
			t.Errorf("received %d of %d, ended with %d", got, len(want), res)
		}
	})
}

// TestLabZCRXNoMemory: when the area is used up the receive ends with ENOMEM, again when it is armed again, and goes on
// where it was once buffers are back.
func TestLabZCRXNoMemory(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 8, nil)
		z.keep = true
		want := pattern(20 * len(z.area))
		a, b := tcpPair(t)
		feed(t, b, want)
		nomem := -int32(unix.ENOMEM)
		n, res := z.receive(a, want, 0)
		if res != nomem || n == 0 || n > len(z.area) {
			t.Fatalf("received %d into %d, ended with %d", n, len(z.area), res)
		}
		if more, res := z.receive(a, want[n:], 0); more != 0 || res != nomem {
			t.Errorf("then received %d, ended with %d", more, res)
		}
		if len(z.held) != 8 {
			t.Errorf("%d completions for 8 buffers", len(z.held))
		}
		z.returnHeld()
		z.keep = false
		if more, res := z.receive(a, want[n:], 0); n+more != len(want) || res != 0 {
			t.Errorf("received %d and %d of %d, ended with %d", n, more, len(want), res)
		}
	})
}

// TestLabZCRXQueueFull: when the completion queue is full the receive ends with ENOSPC. Nothing is lost or repeated.
func TestLabZCRXQueueFull(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	for _, v := range zcrxRings {
		t.Run(v.name, func(t *testing.T) {
			if v.flags&SetupCQEMixed != 0 {
				needLab(t, MixedCQEs)
			}
			r := newRing(t, 4, Params{Flags: v.flags, CQEntries: 4})
			z := newZCRX(t, r, 64, nil)
			want := pattern(4 * len(z.area))
			a, b := tcpPair(t)
			feed(t, b, want)
			if got, res := z.receive(a, want, 0); got != len(want) || res != 0 {
				t.Errorf("received %d of %d, ended with %d", got, len(want), res)
			}
			if z.finals[-int32(unix.ENOSPC)] == 0 {
				t.Errorf("the queue was never full: %v", z.finals)
			}
			t.Logf("%d data completions, ends: %v", z.data, z.finals)
		})
	}
}

// TestLabZCRXCredit: a receive with a length brings so many bytes and ends with 0; what is behind them stays in the
// socket.
func TestLabZCRXCredit(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 32, nil)
		want := pattern(5*page + 100)
		a, b := tcpPair(t)
		feed(t, b, want)
		at := 0
		for _, credit := range []int{1, page, 2*page - 1, 10} {
			got, res := z.receive(a, want[at:at+credit], uint32(credit))
			if got != credit || res != 0 {
				t.Errorf("credit %d: received %d, ended with %d", credit, got, res)
			}
			at += got
		}
		if got, res := z.receive(a, want[at:], 1<<32-1); at+got != len(want) || res != 0 {
			t.Errorf("received the last %d of %d, ended with %d", got, len(want)-at, res)
		}
	})
}

// TestLabZCRXCancel: a cancelled receive has a last completion, and what comes later stays in the socket.
func TestLabZCRXCancel(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 4, nil)
		a, b := tcpPair(t)
		for name, cancel := range map[string]SQE{"by user data": Cancel(1, 2), "by descriptor": CancelFD(a, 2)} {
			push(t, r, RecvZC(a, z.q.ID(), 0, RecvPollFirst, 1))
			_, err := r.Enter(0, 0)
			must(t, err)
			push(t, r, cancel)
			ends := collect(t, r, 2)
			if len(ends[1]) != 1 || ends[1][0].Res != -int32(unix.ECANCELED) || ends[1][0].More() || len(ends[2]) != 1 || ends[2][0].Res < 0 {
				t.Errorf("%s: %+v", name, ends)
			}
		}
		must(t, writeAll(b, []byte("late")))
		push(t, r, RecvZC(a, z.q.ID(), 4, 0, 3))
		c := next(t, r)
		d, ok := z.q.Data(&c)
		if !ok || d.Len != 4 || !bytes.Equal(z.area[d.Offset():][:4], []byte("late")) {
			t.Errorf("received %+v", c)
		}
		expect(t, r, 3, 0)
	})
}

// TestLabZCRXRecvErrors are the receives that cannot be.
func TestLabZCRXRecvErrors(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		z := newZCRX(t, r, 4, nil)
		id := z.q.ID()
		tcp, peer := tcpPair(t)
		udp, _ := inet4(t, unix.SOCK_DGRAM)
		unixSock, _ := streamPair(t)
		unconnected, _ := inet4(t, unix.SOCK_STREAM)
		listening, _ := listener(t)
		must(t, writeAll(peer, []byte("there is something to read")))
		with := func(change func(*SQE)) SQE {
			s := RecvZC(tcp, id, 0, 0, 1)
			change(&s)
			return s
		}
		for _, tc := range []struct {
			name string
			sqe  SQE
			want unix.Errno
		}{
			{"UDP", RecvZC(udp, id, 0, 0, 1), unix.EPROTONOSUPPORT},
			{"a unix socket", RecvZC(unixSock, id, 0, 0, 1), unix.EPROTONOSUPPORT},
			{"not connected", RecvZC(unconnected, id, 0, 0, 1), unix.ENOTCONN},
			{"listening", RecvZC(listening, id, 0, 0, 1), unix.ENOTCONN},
			{"no socket", RecvZC(r.FD(), id, 0, 0, 1), unix.ENOTSOCK},
			{"no descriptor", RecvZC(-1, id, 0, 0, 1), unix.EBADF},
			{"no such queue", RecvZC(tcp, id+1, 0, 0, 1), unix.EINVAL},
			{"single shot", with(func(s *SQE) { s.IOPrio = 0 }), unix.EINVAL},
			{"bundle", with(func(s *SQE) { s.IOPrio |= uint16(RecvBundle) }), unix.EINVAL},
			{"address", with(func(s *SQE) { s.Addr = 1 }), unix.EINVAL},
			{"second address", with(func(s *SQE) { s.Off = 1 }), unix.EINVAL},
			{"third address", with(func(s *SQE) { s.Addr3 = 1 }), unix.EINVAL},
			{"message flags", with(func(s *SQE) { s.OpFlags = unix.MSG_PEEK }), unix.EINVAL},
			{"provided buffers", with(func(s *SQE) { s.Flags |= BufferSelect }), unix.EOPNOTSUPP},
		} {
			push(t, r, tc.sqe)
			if c := next(t, r); c.Res != -int32(tc.want) || c.More() || c.Flags&CQE32 != 0 {
				t.Errorf("%s: %+v, want %v", tc.name, c, tc.want)
			}
		}
		// A connection that was reset.
		must(t, unix.SetsockoptLinger(peer, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		push(t, r, RecvZC(tcp, id, 0, 0, 1))
		if c := next(t, r); !c.More() {
			t.Fatalf("%+v", c)
		}
		must(t, unix.Shutdown(peer, unix.SHUT_WR))
		expect(t, r, 1, 0)
	})
}

// TestLabZCRXManyConnections receives from several connections at once, through one queue.
func TestLabZCRXManyConnections(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		const conns, each = 20, 3 * page
		z := newZCRX(t, r, 16, nil)
		fds, got := make([]int, conns), make([]int, conns)
		want := pattern(each + conns)
		for i := range conns {
			a, b := tcpPair(t)
			fds[i] = a
			feed(t, b, want[i:][:each])
			push(t, r, RecvZC(a, z.q.ID(), 0, 0, uint64(i)))
		}
		for open := conns; open > 0; {
			c := next(t, r)
			i := int(c.UserData)
			d, ok := z.q.Data(&c)
			if ok {
				if !bytes.Equal(z.area[d.Offset():][:d.Len], want[i+got[i]:][:d.Len]) {
					t.Fatalf("connection %d: wrong bytes after %d", i, got[i])
				}
				got[i] += d.Len
				z.giveBack(d.Token)
				z.flush()
				continue
			}
			switch c.Res {
			case 0:
				open--
			case -int32(unix.ENOMEM), -int32(unix.ENOSPC):
				push(t, r, RecvZC(fds[i], z.q.ID(), 0, 0, uint64(i)))
			default:
				t.Fatalf("connection %d: %v", i, c.Err())
			}
		}
		for i, n := range got {
			if n != each {
				t.Errorf("connection %d: received %d of %d", i, n, each)
			}
		}
	})
}

//go:build interleave

package sockq

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/interleave"
	"github.com/zctap/zctap/internal/reuse"
)

// The tests of these files run two or three goroutines through a few operations, in all their
// interleavings. A wake that is lost leaves one that waits for good, which fails its schedule;
// newPool looks for references that are.

// receive takes from q, an iov at a time, until it fails.
func (e *explored) receive() (err error) {
	var dst [1]buf.Iov
	for {
		n, err := e.q.Recv(dst[:], 1<<20)
		if err != nil {
			return err
		}
		e.take(dst[:n])
	}
}

// An explored is an engine with one queue, whose payload r checks.
type explored struct {
	*engine
	q *Queue
	r *reader
}

func newExplored(x *interleave.Execution) *explored {
	e := newEngine(x, 3)
	return &explored{e, NewQueue(e.p), &reader{TB: x, p: e.p}}
}

// got fails the schedule if not n bytes were received.
func (e *explored) got(n uint64) {
	if e.r.got != n {
		e.Errorf("%d bytes received, want %d", e.r.got, n)
	}
}

// The producer pushes while the consumer takes, from one chunk to the next and, whenever all was
// taken, at the beginning again: it takes what was pushed, in its order.
func TestInterleaveFifo(t *testing.T) {
	for _, before := range []int{0, ownLen - 1, ownLen + chunkLen - 1} {
		interleave.Explore(t, 4, func(x *interleave.Execution) {
			const n = 3
			var q fifo[int]
			q.init(new(reuse.Pool[chunk[int]]))
			next := 0
			for i := range before {
				q.push(i)
			}
			q.publish()
			take := func() {
				for run := q.run(); len(run) > 0; run = q.run() {
					for _, v := range run {
						if v != next {
							x.Errorf("took %d, want %d", v, next)
						}
						next++
					}
					q.dropN(len(run))
				}
				q.settle()
			}
			x.Go("producer", func() {
				for i := range n {
					q.push(before + i)
					q.publish()
				}
			})
			x.Go("consumer", func() { take(); take() })
			x.Cleanup(func() {
				if take(); next != before+n || q.len() != 0 {
					x.Errorf("%d taken of %d, %d are left", next, before+n, q.len())
				}
			})
		})
	}
}

// A consumer that blocks is woken by each batch, at once or gathered, and by the end.
func TestInterleaveRecv(t *testing.T) {
	for name, gathered := range map[string]bool{"at once": false, "gathered": true} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 2, func(x *interleave.Execution) {
				e := newExplored(x)
				frags := e.frags(10, 20)
				x.Go("engine", func() {
					var w *Wakes
					if gathered {
						w = &Wakes{}
					}
					e.q.Push(frags[0])
					e.q.PublishTo(w)
					e.q.Push(frags[1])
					e.q.PublishTo(w)
					if gathered {
						w.Wake()
					}
					e.q.End(io.EOF)
					e.q.PublishTo(w)
					if gathered {
						w.Wake()
					}
				})
				x.Go("consumer", func() {
					if err := e.receive(); err != io.EOF {
						x.Error(err)
					}
				})
				x.Cleanup(func() { e.got(30) })
			})
		})
	}
}

// arm is what Conn.Arm does.
func arm(q *Queue, cq *CQ) {
	q.Arm(cq, 7)
	if q.Frags() > 0 || q.Ended() {
		q.Raise()
		cq.Nudge()
	}
}

// drain is a consumer of cq, on which q is armed, until q's end.
func (e *explored) drain(cq *CQ, take func(iovs []buf.Iov)) (err error) {
	var dst [1]buf.Iov
	for err == nil {
		next := cq.Next(func(*Source) (again, more bool) {
			var n int
			n, _, again, err = e.q.Poll(dst[:], 1<<20)
			take(dst[:n])
			return again, err == nil
		})
		if next != nil {
			return next
		}
	}
	return err
}

// take checks and gives back iovs.
func (e *explored) take(iovs []buf.Iov) {
	e.r.take(iovs)
	e.r.giveBack(len(iovs))
}

// A queue is armed while the engine publishes: its payload, and its end, come by the CQ.
func TestInterleaveArm(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		e, cq := newExplored(x), NewCQ()
		frags := e.frags(10, 20)
		x.Go("engine", func() {
			e.q.Push(frags[0])
			e.q.Publish()
			cq.Flush()
			e.q.Push(frags[1])
			e.q.End(io.EOF)
			e.q.Publish()
			cq.Flush()
		})
		x.Go("consumer", func() {
			arm(e.q, cq)
			if err := e.drain(cq, e.take); err != io.EOF {
				x.Error(err)
			}
		})
		x.Cleanup(func() { e.got(30) })
	})
}

// A queue is armed while another goroutine blocks on it: what that leaves, and the end, come by the CQ.
func TestInterleaveArmBesideRecv(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		e, cq := newExplored(x), NewCQ()
		f := e.frag(30)
		received := 0
		x.Go("engine", func() {
			e.q.Push(f)
			e.q.End(io.EOF)
			e.q.Publish()
			cq.Flush()
		})
		x.Go("receiver", func() {
			var dst [1]buf.Iov
			n, err := e.q.Recv(dst[:], 10)
			if err != nil && err != io.EOF && !errors.Is(err, syscall.EBUSY) {
				x.Error(err)
			}
			received += drop(e.p, dst[:n])
		})
		x.Go("consumer", func() {
			arm(e.q, cq)
			if err := e.drain(cq, func(iovs []buf.Iov) { received += drop(e.p, iovs) }); err != io.EOF {
				x.Error(err)
			}
		})
		x.Cleanup(func() {
			if received != 30 {
				x.Errorf("%d bytes received, want 30", received)
			}
		})
	})
}

// A queue that was armed is disarmed while the engine publishes: then payload comes to who blocks.
func TestInterleaveDisarm(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		e, cq := newExplored(x), NewCQ()
		f := e.frag(10)
		arm(e.q, cq)
		x.Go("engine", func() {
			e.q.Push(f)
			e.q.End(io.EOF)
			e.q.Publish()
			cq.Flush()
		})
		x.Go("consumer", func() {
			e.q.Disarm()
			if err := e.receive(); err != io.EOF {
				x.Error(err)
			}
		})
		x.Cleanup(func() { e.got(10) })
	})
}

// A queue is closed while a consumer blocks on it and the engine publishes, and drains: the consumer is
// told, and each reference is dropped once.
func TestInterleaveClose(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		e := newExplored(x)
		frags := e.frags(10, 20)
		x.Go("engine", func() {
			e.q.Push(frags[0])
			e.q.Publish()
			e.q.Drain()
			e.q.Push(frags[1])
			e.q.Publish()
			e.q.Drain()
		})
		x.Go("consumer", func() {
			if err := e.receive(); err != net.ErrClosed {
				x.Error(err)
			}
		})
		x.Go("closer", func() { e.q.Close() })
		x.Cleanup(func() { e.q.Drain() })
	})
}

// An engine that has failed ends a queue, of which a consumer takes, blocks on it, or looks.
func TestInterleaveAbort(t *testing.T) {
	for name, take := range map[string]func(e *explored) error{
		"recv": (*explored).receive,
		"read": func(e *explored) (err error) {
			var b [8]byte
			for n := 0; err == nil; {
				n, err = e.q.Read(b[:])
				e.r.bytes(b[:n])
			}
			return err
		},
		"armed": func(e *explored) error {
			cq := NewCQ()
			arm(e.q, cq)
			return e.drain(cq, e.take)
		},
	} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 2, func(x *interleave.Execution) {
				e := newExplored(x)
				f := e.frag(20)
				dropped := 0
				x.Go("engine", func() {
					e.q.Push(f)
					e.q.Publish()
					dropped = e.q.Abort(syscall.EIO)
				})
				x.Go("consumer", func() {
					if err := take(e); err != syscall.EIO {
						x.Error(err)
					}
				})
				x.Cleanup(func() { e.got(uint64(20 - dropped)) })
			})
		})
	}
}

// An engine waits until a consumer has taken everything, who keeps it: so it is for the credit of a
// connection over lent buffers.
func TestInterleaveCredit(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		e := newExplored(x)
		e.p.Lend(2)
		frags := []buf.Frag{buf.Landed(0, 0, 1), buf.Landed(1, 0, 1)}
		if n, err := e.p.Land(frags); n != 2 || err != nil {
			x.Fatal(n, err)
		}
		woken := false
		e.p.OnReturn(func() { woken = true })
		var held []buf.Iov
		x.Go("engine", func() {
			for i := range frags {
				e.q.Push(frags[i])
				e.q.Publish()
			}
			for {
				woken = false
				e.p.WantReturn()
				if e.q.Buffered() == 0 {
					break
				}
				interleave.Await(func() bool { return woken })
			}
		})
		x.Go("consumer", func() {
			for len(held) < 2 {
				var dst [2]buf.Iov
				n, err := e.q.Recv(dst[:], 1<<20)
				if err != nil {
					x.Error(err)
				}
				held = append(held, dst[:n]...)
			}
		})
		x.Cleanup(func() { e.p.Return(held) })
	})
}

//go:build interleave

package buf

import (
	"testing"

	"github.com/zctap/zctap/internal/interleave"
)

// Two views of one buffer are released at the same time, and the engine looks for free ones.
func TestInterleaveReturnViews(t *testing.T) {
	interleave.Explore(t, 3, func(x *interleave.Execution) {
		p, acct := explored(x, 1), new(Account)
		b := alloc(x, p, 1)[0]
		p.Charge(b, acct)
		v, w := giveUser(x, p, b, 0, 1), handOver(x, p, b, 1, 1)
		x.Go("user", func() { giveBack(x, p, v) })
		x.Go("another", func() { giveBack(x, p, w) })
		x.Go("engine", func() { p.Reclaim() })
		x.Cleanup(func() {
			if acct.Held() != 0 || p.Free() != 1 {
				x.Errorf("charged for %d, %d free", acct.Held(), p.Free())
			}
		})
	})
}

// The application releases its view of a buffer while the stack drops its own reference, which is
// then the last one, or not.
func TestInterleaveReturnAndPut(t *testing.T) {
	interleave.Explore(t, 5, func(x *interleave.Execution) {
		p, acct := explored(x, 1), new(Account)
		b := alloc(x, p, 1)[0]
		p.Charge(b, acct)
		v := giveUser(x, p, b, 0, 1)
		x.Go("user", func() { giveBack(x, p, v) })
		x.Go("engine", func() {
			p.Put(b)
			p.Reclaim()
		})
		x.Cleanup(func() {
			if acct.Held() != 0 || p.Free() != 1 {
				x.Errorf("charged for %d, %d free", acct.Held(), p.Free())
			}
		})
	})
}

// A consumer is given more of a buffer while another view of it is released.
func TestInterleaveReturnAndGive(t *testing.T) {
	interleave.Explore(t, 4, func(x *interleave.Execution) {
		p := explored(x, 1)
		b := alloc(x, p, 1)[0]
		v := giveUser(x, p, b, 0, 1)
		x.Go("user", func() { giveBack(x, p, v) })
		x.Go("consumer", func() {
			w := giveUser(x, p, b, 1, 1)
			giveBack(x, p, handOver(x, p, b, 2, 1), w)
		})
	})
}

// An iov is returned by three who have a copy of it, one of them with a neighbor before it, one with a
// neighbor behind it, one twice. Of each iov one return is accepted.
func TestInterleaveDoubleReturns(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		p, acct := explored(x, 3), new(Account)
		ids := alloc(x, p, 3)
		var iovs []Iov
		for _, b := range ids {
			p.Charge(b, acct)
			iovs = append(iovs, handOver(x, p, b, 0, 1))
		}
		n := 0
		x.Go("a", func() { n += accepted(x, p, iovs[0], iovs[1]) })
		x.Go("b", func() { n += accepted(x, p, iovs[1], iovs[2]) })
		x.Go("c", func() { n += accepted(x, p, iovs[1], iovs[1]) })
		x.Cleanup(func() {
			if n != 3 || p.Rejected() != 3 || acct.Held() != 0 || p.Free() != 3 {
				x.Errorf("%d returns accepted, %d refused, charged for %d, %d free", n, p.Rejected(), acct.Held(), p.Free())
			}
		})
	})
}

// An iov is returned twice while its buffer, the only one, goes out and comes back again: whatever
// the turn says in between, nobody's reference but its own is dropped.
func TestInterleaveStaleReturn(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		p := explored(x, 1)
		v := handOver(x, p, alloc(x, p, 1)[0], 0, 1)
		n := 0
		x.Go("user", func() { n += accepted(x, p, v) })
		x.Go("late", func() { n += accepted(x, p, v) })
		x.Go("engine", func() {
			for range 2 {
				giveBack(x, p, handOver(x, p, next(p), 0, 1))
			}
		})
		x.Cleanup(func() {
			if n != 1 || p.Rejected() != 1 || p.Free() != 1 {
				x.Errorf("%d returns accepted, %d refused, %d free", n, p.Rejected(), p.Free())
			}
		})
	})
}

// Buffers that share a turn word are released by two, while the engine hands over and puts others of
// the group.
func TestInterleaveNeighbors(t *testing.T) {
	interleave.Explore(t, 2, func(x *interleave.Execution) {
		p := explored(x, 5)
		ids := alloc(x, p, 5)
		var iovs []Iov
		for _, b := range ids[:3] {
			iovs = append(iovs, handOver(x, p, b, 0, 1))
		}
		x.Go("user", func() { giveBack(x, p, iovs[0], iovs[2]) })
		x.Go("another", func() { giveBack(x, p, iovs[1]) })
		x.Go("engine", func() {
			w := handOver(x, p, ids[3], 0, 1)
			p.Put(ids[4])
			giveBack(x, p, w)
		})
		x.Cleanup(func() {
			if p.Free() != 5 {
				x.Errorf("%d free", p.Free())
			}
		})
	})
}

// An iov of a lent buffer is returned twice, and the buffer is free then, has landed again, or
// has had another reference all the time, which is handed over: only then one of the copies can be
// taken for that, and the other iov is refused.
func TestInterleaveDoubleReturnLent(t *testing.T) {
	for name, engine := range map[string]func(x *interleave.Execution, p *Pool) (accept int){
		"free":                     func(*interleave.Execution, *Pool) int { return 0 },
		"landed again":             func(x *interleave.Execution, p *Pool) int { land(x, p, 0); p.Put(0); return 0 },
		"landed again, one thread": func(x *interleave.Execution, p *Pool) int { land(x, p, 0); p.Put(0); return 0 },
		"held": func(x *interleave.Execution, p *Pool) int {
			return accepted(x, p, handOver(x, p, 0, 0, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			interleave.Explore(t, 2, func(x *interleave.Execution) {
				p, d := lent(x, 1), device{}
				if name == "landed again, one thread" { // stored where nobody holds it
					p.OneThread(d.take)
				}
				v := landed(x, p, 0)
				n, want := 0, 1
				if name == "held" {
					land(x, p, 0)
					want = 2
				}
				x.Go("user", func() { n += accepted(x, p, v) })
				x.Go("late", func() { n += accepted(x, p, v) })
				x.Go("engine", func() {
					d.takeBack(p)
					n += engine(x, p)
				})
				x.Cleanup(func() {
					d.end(x, p, 1, 2)
					if n != want || p.Rejected() != 1 {
						x.Errorf("%d returns accepted, %d refused", n, p.Rejected())
					}
				})
			})
		})
	}
}

package buf

import (
	"runtime"
	"slices"
	"sync"
	"testing"
)

func TestRingSizes(t *testing.T) {
	for _, c := range [][2]int{{1, 1}, {2, 2}, {3, 4}, {64, 64}, {65, 128}, {1 << 16, 1 << 16}} {
		if r := newSlotRing(c[0]); len(r.slots) != c[1] || r.mask != uint64(c[1]-1) || 1<<r.shift != c[1] {
			t.Errorf("newSlotRing(%d) has %d slots, want %d", c[0], len(r.slots), c[1])
		}
	}
}

// TestRingWraps moves batches of all sizes around a small ring.
func TestRingWraps(t *testing.T) {
	r := newSlotRing(8)
	next, want := uint16(0), uint16(0)
	dst := make([]uint16, 8)
	for i := range 1000 {
		n := i % 9
		var ids []uint16
		for range n {
			ids = append(ids, next)
			next++
		}
		if i%2 == 0 {
			r.push(ids)
		} else {
			for _, id := range ids {
				if !r.tryPush(id) {
					t.Fatal("full too early")
				}
			}
		}
		if r.len() != n {
			t.Fatalf("%d in the ring, want %d", r.len(), n)
		}
		if n == 8 && r.tryPush(0) {
			t.Fatal("a full ring took one more")
		}
		first := r.pop(dst[:n/2])
		for got := dst[:first+r.pop(dst[first:])]; len(got) > 0; got = got[1:] {
			if got[0] != want {
				t.Fatalf("popped %d, want %d", got[0], want)
			}
			want++
		}
		if want != next || r.pop(dst) != 0 {
			t.Fatalf("popped up to %d of %d", want, next)
		}
	}
	if r.pushed() != uint64(r.head.Load()) {
		t.Fatal("pushed does not count what was pushed")
	}
}

// TestRingHoldsEveryID: id 0 and id 65,535 are not mistaken for an empty slot.
func TestRingHoldsEveryID(t *testing.T) {
	r := newSlotRing(MaxBuffers)
	r.push(seq(0, MaxBuffers))
	got := make([]uint16, MaxBuffers)
	if n := r.pop(got); n != MaxBuffers || !slices.Equal(got, seq(0, MaxBuffers)) {
		t.Fatalf("popped %d", n)
	}
}

// TestRingHidesReservedSlots: a producer that reserved and has not filled
// stops the consumer there, and loses nothing.
func TestRingHidesReservedSlots(t *testing.T) {
	r := newSlotRing(4)
	r.push([]uint16{1})
	slow := r.tail.Add(1) - 1
	r.push([]uint16{3})
	var dst [4]uint16
	if n := r.pop(dst[:]); n != 1 || dst[0] != 1 {
		t.Fatalf("popped %v", dst[:n])
	}
	if n := r.pop(dst[:]); n != 0 {
		t.Fatalf("popped %v over a slot that is not filled", dst[:n])
	}
	r.store(slow, 2)
	if n := r.pop(dst[:]); n != 2 || dst[0] != 2 || dst[1] != 3 {
		t.Fatalf("popped %v", dst[:n])
	}
}

// TestRingConcurrent: several producers, by push and by tryPush, one consumer;
// every id comes out once, and those of one producer in order. What push stores
// without atomics is only read behind what it stores with: the race detector's part.
func TestRingConcurrent(t *testing.T) {
	const producers, slots = 4, 16
	each := scale(400_000) / producers
	for _, c := range []struct {
		name string
		push func(r *slotRing, ids []uint16, room chan struct{})
	}{
		// push relies on its caller for room, as the pool's number of buffers does.
		{"push", func(r *slotRing, ids []uint16, room chan struct{}) {
			for range ids {
				<-room
			}
			r.push(ids)
		}},
		{"tryPush", func(r *slotRing, ids []uint16, room chan struct{}) {
			for _, id := range ids {
				for !r.tryPush(id) {
					<-room // the consumer made some
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newSlotRing(slots)
			// Less than all of it is with producers who wait for the rest.
			room := make(chan struct{}, slots)
			if c.name == "push" {
				for range slots {
					room <- struct{}{}
				}
			}
			var wg sync.WaitGroup
			for k := range producers {
				wg.Go(func() {
					var ids [3]uint16
					for i, n := 0, 0; i < each; i += n {
						n = min(1+i%len(ids), each-i)
						for j := range ids[:n] {
							ids[j] = uint16(k<<14 | (i+j)&0x3fff)
						}
						c.push(&r, ids[:n], room)
					}
				})
			}
			var seen [producers]int
			var dst [5]uint16
			for total := 0; total < producers*each; {
				n := r.pop(dst[:])
				if n == 0 {
					runtime.Gosched()
				}
				for _, id := range dst[:n] {
					k := id >> 14
					if int(id&0x3fff) != seen[k]&0x3fff {
						t.Fatalf("producer %d: popped %d, want %d", k, id&0x3fff, seen[k]&0x3fff)
					}
					seen[k]++
					select {
					case room <- struct{}{}:
					default:
					}
				}
				total += n
			}
			wg.Wait()
			for len(room) > 0 {
				<-room
			}
			if r.len() != 0 || r.pop(dst[:]) != 0 {
				t.Fatal("something is left")
			}
		})
	}
}

//go:build linux

package uring

import (
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// fakeQueue is a completion queue on the heap with the test as its kernel.
type fakeQueue struct {
	*Ring
	kernel *shring.Producer
}

func newFakeQueue(t *testing.T, slots uint32, flags SetupFlags, start uint32) *fakeQueue {
	t.Helper()
	words := shring.Words{Producer: new(uint32), Consumer: new(uint32), Size: slots}
	*words.Producer, *words.Consumer = start, start
	cq, err := shring.NewConsumer(words)
	must(t, err)
	kernel, err := shring.NewProducer(words)
	must(t, err)
	r := &Ring{cq: cq, flags: flags, stride: 1, cqes: make([]cqeSlot, slots)}
	return &fakeQueue{Ring: r, kernel: kernel}
}

func (q *fakeQueue) post(t *testing.T, slots ...cqeSlot) {
	t.Helper()
	at, got := q.kernel.Reserve(uint32(len(slots)))
	if int(got) != len(slots) {
		t.Fatalf("%d slots free, want %d", got, len(slots))
	}
	for i, s := range slots {
		q.cqes[(at+uint32(i))&q.kernel.Mask()] = s
	}
	q.kernel.Submit(got)
}

// TestMixedQueue parses queues that a kernel would make, and some that it would not.
func TestMixedQueue(t *testing.T) {
	small := func(id uint64) cqeSlot { return cqeSlot{userData: id} }
	large := func(id uint64) cqeSlot { return cqeSlot{userData: id, flags: CQE32} }
	skip := cqeSlot{userData: 99, flags: CQESkip}
	half := cqeSlot{userData: 7, res: 0, flags: 0}
	for _, tc := range []struct {
		name  string
		start uint32
		slots []cqeSlot
		want  []uint64
		torn  uint64
	}{
		{"small", 0, []cqeSlot{small(1), small(2)}, []uint64{1, 2}, 0},
		{"large", 0, []cqeSlot{large(1), half, small(2), large(3), half}, []uint64{1, 2, 3}, 0},
		{"large up to the end", 6, []cqeSlot{large(1), half, small(2)}, []uint64{1, 2}, 0},
		{"gap at the end", 6, []cqeSlot{small(1), skip, large(2), half}, []uint64{1, 2}, 0},
		{"gap over the number wrap", 1<<32 - 1, []cqeSlot{skip, large(2), half}, []uint64{2}, 0},
		{"only a gap", 7, []cqeSlot{skip}, nil, 0},
		{"large over the seam", 7, []cqeSlot{large(1), small(2)}, []uint64{2}, 1},
		{"half a large one", 0, []cqeSlot{small(1), large(2)}, []uint64{1}, 1},
	} {
		for _, batch := range []int{1, 2, 8} {
			q := newFakeQueue(t, 8, SetupCQEMixed, tc.start)
			q.post(t, tc.slots...)
			var got []uint64
			dst := make([]CQE, batch)
			for n := q.Reap(dst); n > 0; n = q.Reap(dst) {
				for _, c := range dst[:n] {
					got = append(got, c.UserData)
					if want := (c.Flags & CQE32) != 0; (c.Extra[0] == 7) != want {
						t.Errorf("%s: completion %+v", tc.name, c)
					}
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%s, %d at a time: completions %v, want %v", tc.name, batch, got, tc.want)
			}
			if q.torn != tc.torn {
				t.Errorf("%s: %d torn, want %d", tc.name, q.torn, tc.torn)
			}
			if n := q.kernel.InFlight(); n != 0 {
				t.Errorf("%s: %d slots not given back", tc.name, n)
			}
		}
	}
}

// TestReapBeside posts from another goroutine while the ring reaps: under -race, what a real kernel cannot show.
func TestReapBeside(t *testing.T) {
	const total = 50_000
	q := newFakeQueue(t, 16, 0, 1<<32-100)
	async(t, func() error {
		for sent := uint32(0); sent < total; {
			at, got := q.kernel.Reserve(min(5, total-sent))
			for i := range got {
				q.cqes[(at+i)&q.kernel.Mask()] = cqeSlot{userData: uint64(sent), res: int32(sent)}
				sent++
			}
			q.kernel.Submit(got)
			if got == 0 {
				runtime.Gosched()
			}
		}
		return nil
	})
	dst := make([]CQE, 7)
	for reaped := uint32(0); reaped < total; {
		n := q.Reap(dst)
		for _, c := range dst[:n] {
			if c.UserData != uint64(reaped) || c.Res != int32(reaped) {
				t.Fatalf("completion %+v, want number %d", c, reaped)
			}
			reaped++
		}
		if n == 0 {
			runtime.Gosched()
		}
	}
}

func TestCQEMethods(t *testing.T) {
	c := completion(-int32(unix.ENOBUFS), 0xabcd, CQEMore)
	if c.Err() != unix.ENOBUFS || !c.More() {
		t.Errorf("%+v: error %v, more %v", c, c.Err(), c.More())
	}
	if bid, ok := c.BufferID(); bid != 0xabcd || !ok {
		t.Errorf("buffer %#x, %v", bid, ok)
	}
	c = CQE{Res: 5, Flags: 0xabcd << cqeBufferShift}
	if _, ok := c.BufferID(); ok || c.Err() != nil || c.More() {
		t.Errorf("%+v: buffer %v, error %v, more %v", c, ok, c.Err(), c.More())
	}
}

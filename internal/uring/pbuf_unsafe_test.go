//go:build linux

package uring

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// heapMemory returns n zeroed bytes on the heap, aligned for 64-bit words.
func heapMemory(n int) []byte {
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

// sharedTail reads the tail as the kernel does: 16 bits of the word at offset 12, the other half of which is the id in
// entry 0.
func sharedTail(b *BufRing) uint16 {
	var w [4]byte
	binary.NativeEndian.PutUint32(w[:], atomic.LoadUint32(b.tailBid))
	return binary.NativeEndian.Uint16(w[2:])
}

// TestBufRingAgainstPeer plays the kernel in another goroutine: it takes buffers as far as the shared tail goes and gives
// them back as completions. Under -race this proves that Publish alone orders the entries. The id of entry 0 is the
// exception: it shares a word with the tail and so is read atomically here.
func TestBufRingAgainstPeer(t *testing.T) {
	const entries, total = 16, 50_000
	b := heapBufRing(entries, false)
	taken := make(chan CQE, entries)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(taken)
		var head uint16
		for n := 0; n < total; {
			var w [4]byte
			binary.NativeEndian.PutUint32(w[:], atomic.LoadUint32(b.tailBid))
			first, tail := binary.NativeEndian.Uint16(w[0:]), binary.NativeEndian.Uint16(w[2:])
			if head == tail {
				runtime.Gosched()
			}
			for ; head != tail && n < total; n++ {
				e := &b.entries[head%entries]
				bid := first
				if head%entries != 0 {
					bid = e.bid
				}
				if e.addr != 0x1000*uint64(bid+1) || e.len != uint32(bid)+1 {
					t.Errorf("buffer %d is at %#x with %d bytes", bid, e.addr, e.len)
					n = total
					break
				}
				taken <- completion(1, bid, 0)
				head++
			}
		}
	})

	add := func(bid uint16) {
		if err := b.Add(uintptr(bid+1)*0x1000, uint32(bid)+1, bid); err != nil {
			t.Error(err)
		}
	}
	for bid := range uint16(entries) {
		add(bid)
	}
	b.Publish()
	var segs []Segment
	for c := range taken {
		var err error
		if segs, err = b.Consume(segs[:0], c); err != nil || len(segs) != 1 {
			t.Errorf("%d segments (%v)", len(segs), err)
			break
		}
		add(segs[0].BID)
		b.Publish()
	}
	for range taken {
	}
	wg.Wait()
}

//go:build linux

package kernel

import (
	"sync/atomic"

	"github.com/zctap/zctap/internal/engine"
)

// zcrxCounters are what Stats reports of this backend alone. The loop adds.
type zcrxCounters struct {
	zeroCopy    atomic.Uint64 // bytes
	copiedOut   atomic.Uint64 // payloads moved to the reserve, so that their buffers went back
	kernelFrags atomic.Uint64 // gauge: copies that the kernel reports
	kernelBytes atomic.Uint64 // gauge: their bytes
	allocFails  atomic.Uint64 // times that the NIC found no buffer, as far as told
	copyEvents  atomic.Uint64 // times that the kernel told of copies
	flushes     atomic.Uint64
	exhausted   atomic.Uint64 // requests that ended for want of a buffer to copy to
	queueFull   atomic.Uint64 // requests that ended for want of room in the completion queue
	usedUp      atomic.Uint64 // requests that ended with their credit
	elsewhere   atomic.Uint64 // connections found to come in by another queue
	recalled    atomic.Uint64 // credits taken back from connections that did not use them
	squeezed    atomic.Uint64 // receive buffers made smaller for the sake of others
	kicked      atomic.Uint64 // requests made anew since the kernel may have stopped in the middle
	asleep      atomic.Uint64 // of them, those whose socket had payload and that did not wake
	unsplit     atomic.Uint64 // times that connections were ended, for the NIC drops all
	lost        atomic.Uint64 // bytes of connections that were ended, for their payload had no place
}

// add adds the counters to s.
func (z *zcrxCounters) add(s *engine.Stats) {
	s.ZeroCopyBytes += z.zeroCopy.Load()
	s.Drop("stream-bytes-no-buffer", z.lost.Load())
	s.Event("copied-out", z.copiedOut.Load())
	s.Event("kernel-copied-frags", z.kernelFrags.Load())
	s.Event("kernel-copied-bytes", z.kernelBytes.Load())
	s.Event("kernel-copy-told", z.copyEvents.Load())
	s.Event("alloc-fail", z.allocFails.Load())
	s.Event("flushes", z.flushes.Load())
	s.Event("no-buffer-to-copy-to", z.exhausted.Load())
	s.Event("completion-queue-full", z.queueFull.Load())
	s.Event("credit-used-up", z.usedUp.Load())
	s.Event("other-queue", z.elsewhere.Load())
	s.Event("recalled", z.recalled.Load())
	s.Event("squeezed", z.squeezed.Load())
	s.Event("all-dropped", z.unsplit.Load())
	s.Event("kicked", z.kicked.Load())
	s.Event("stalled", z.asleep.Load())
}

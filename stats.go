package zctap

import "github.com/zctap/zctap/internal/engine"

// Stats are the counters of a queue since it was opened. Counts only grow, but
// for the gauges Conns, Buffers and FreeBuffers. The maps belong to the caller.
// docs/counters.md tells what each name in them means, and which to look at when
// something is slow or lost.
type Stats struct {
	// Payload bytes received into socket queues: left where the driver put
	// them, or copied by zctap (engine Copy: all; User: payload that shared
	// memory with a header, and small payloads put together).
	ZeroCopyBytes, CopiedBytes uint64
	// ReadBytes were copied out once more, by Read and the like.
	ReadBytes uint64
	// SentBytes were copied once into transmit buffers.
	SentBytes uint64
	// RecvCalls are calls of RecvZC, RecvFromZC and Wait that returned something, and of
	// the handler.
	RecvCalls uint64

	Frames   uint64 // frames received (User), receive operations (Copy, ZCRX)
	Batches  uint64 // rounds of the engine that received something
	Wakes    uint64 // times that the engine was woken from sleep
	Syscalls uint64 // system calls of the engine's data path

	Conns       int // connections that the engine keeps state for; User: also those in TIME-WAIT
	Buffers     int // buffers of the region
	FreeBuffers int // of these, held by nobody: neither driver, stack, queue nor application

	Exhaustions      uint64 // episodes without a free buffer
	RejectedReleases uint64 // iovs that Release refused

	Drops  map[string]uint64 // frames, datagrams and bytes dropped, by cause; nil if none were
	Events map[string]uint64 // other events, such as retransmissions; nil if there were none
}

// Stats reads the counters. They are exact when nothing is under way. Engine User
// answers between two batches of frames, so that a call waits some microseconds; call it
// from time to time, also after Close, and not for each packet.
func (q *Queue) Stats() Stats {
	var e engine.Stats
	q.engine.Stats(&e)
	return Stats{
		ZeroCopyBytes: e.ZeroCopyBytes, CopiedBytes: e.CopiedBytes,
		ReadBytes: q.readBytes.Load(), SentBytes: e.SentBytes, RecvCalls: q.recvCalls.Load(),
		Frames: e.Frames, Batches: e.Batches, Wakes: e.Wakes, Syscalls: e.Syscalls,
		Conns: e.Conns, Buffers: q.pool.Region().Count(), FreeBuffers: q.free(),
		Exhaustions: q.pool.Exhaustions(), RejectedReleases: q.pool.Rejected(),
		Drops: e.Drops, Events: e.Events,
	}
}

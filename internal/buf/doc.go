// Package buf is the heart of zctap: the frame backing store, who owns each of
// its buffers, and the way of a buffer from the driver to the application and
// back. It implements patches 4 to 8, 10, 13, 14 and 15 of the RFC "zero-copy
// RX for io_uring" (io_uring/zctap), and nothing else: no protocol, no clock,
// no goroutine.
//
// A [Region] is page-aligned memory cut into buffers of one page each. A
// [Pool] is the state of a region's buffers for one interface queue. The life
// of a buffer:
//
//	 Alloc           Charge        HandOver / GiveUser        Return
//	───────▶ driver ───────▶ stack ───────────────────▶ user ───────▶ fill ring
//	    ▲       │              │                                          │
//	    │       └──────Put─────┴───▶ recycle ring ─(full)─▶ freelist      │
//	    │                                 │                    │          │
//	    └──── cache ◀─────── 64 ──────────┴──────── 128 ───────┴──── 64 ──┘
//
// Every buffer has one 64-bit word (word.go) that holds its generation and two
// counts: kernel references, held by the driver, the stack or a socket queue,
// and user references, one for each [Iov] that the application has not given
// back. A buffer is free when both are zero, and whoever makes them zero puts
// it into the fill ring (the application) or the recycle ring (anyone else).
// The generation changes at that moment, so that an Iov kept beyond its return
// no longer matches and its return is refused.
//
// Buffers that a device refills by itself (Lend) are never allocated: they get references
// where payload has landed (Land), and when nobody holds them any more the engine takes them out of
// the fill ring for the device (TakeBack).
//
// Threads. One goroutine, the engine's, allocates: Alloc and what the doc
// comments call "engine only". Put, Return, HandOver and GiveUser may be called
// from any goroutine, at the same time; they are lock-free but for the
// freelist, which is off the hot path. An engine of several threads takes turns by
// a lock of its own at what is "engine only"; Land needs none.
package buf

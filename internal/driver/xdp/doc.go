// Package xdp is the driver of a Linux network interface through AF_XDP: frames
// that an XDP program redirects land in buffers of the region, put there by the
// NIC (zero-copy) or by the kernel (copy mode), and everything else goes on to
// the kernel's own stack.
//
// # Memory and rings
//
// The region is the UMEM, one buffer a chunk, whoever supplied it. Each receive
// queue has a socket with four rings, all on internal/shring:
//
//	            fill   ──▶  buffers to receive into    fill.go
//	driver      RX     ◀──  frames                     rx.go        kernel, NIC
//	            TX     ──▶  frames to send             tx.go
//	            compl. ◀──  buffers that were sent     completion.go
//
// The first queue's socket registers the UMEM, the others share it
// (XDP_SHARED_UMEM), so that one region serves several queues. Only the first
// one sends: the engine is one goroutine, and one ring keeps what it sends in
// order.
//
// # Buffers
//
// A received frame stays where it is: its chunks become the frags of a
// driver.Frame, headers included, and the stack parses it in place. What the
// kernel is given to receive into is allocated from the pool in batches; what it
// sends from is reserved for that from Open to Close (Config.TxBuffers), for a
// socket has one UMEM only and the memory before and behind a region is
// somebody else's. A ledger knows at all times which buffers the kernel may use:
// an index that comes back from it is believed only if it went there.
//
// # Losses
//
// The kernel drops a frame for which the fill ring has no buffer or the RX ring
// no room; nothing can wait in front of an AF_XDP socket. So the fill ring is
// kept well filled, at the price of that many buffers being away from the pool,
// and every drop is in the counters that XDP_STATISTICS has of it.
package xdp

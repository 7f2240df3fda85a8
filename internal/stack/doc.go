// Package stack is the protocol stack between a driver and the socket queues:
// frames in, payload out, and segments the other way. It owns the flows of one
// interface queue; the protocols themselves are in its subfolders ip, tcp and
// udp.
//
// A round of the engine's loop is
//
//	stack.Deliver(now, batch)  each frame: headers parsed in place, checksum,
//	                           payload cut out, its flow's Input
//	stack.Advance(now)         the timers that are due
//	stack.Flush(now)           each flow that was touched, once: what it has to
//	                           send, and what its application may see
//
// Touched flows are linked into a list, so that a batch of many segments of one
// connection draws one ACK, one publication and one wake. Those of them that follow
// each other, also where other flows' came between (flowsort.go), and differ in nothing that
// matters are one Input (merge.go).
//
// Payload is never moved: what Deliver hands to a flow is the part of the
// driver's buffers behind the headers, with the references to them.
//
// A Stack has no lock, no clock and no goroutine. All of its methods are called
// from one goroutine, the engine's.
package stack

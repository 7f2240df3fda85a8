// Package packet runs scripts that play the peer of a TCP or UDP endpoint: they
// call the socket API on one side, and put packets on the wire and expect packets
// on the other. The same script runs against the Linux kernel's stack, over a TUN
// device in a network namespace; against zctap's own, over a wire in memory with a
// clock that the script moves; and against the engine around that, in real time. The
// kernel is there to find scripts that are wrong, and the scripts to find where we
// are.
//
// The notation is that of packetdrill, as far as it goes; the language is smaller,
// and described in docs/packet-tests.md. A script:
//
//	# What is acknowledged once is not delivered twice.
//	listen l
//	< S 0:0(0) <mss 1000>
//	> S. 0:0(0) ack 1 <mss max>
//	< . 1:1(0) ack 1
//	accept l c
//	< P. 1:1001(1000) ack 1
//	> . 1:1(0) ack 1001
//	< P. 1:1001(1000) ack 1
//	> . 1:1(0) ack 1001
//	recv c 5000 -> 1000
//
// A script is parsed by [Parse] into events, which a [Runner] does in order on a
// [Target]. It stops at the first that does not come out as written, with an error
// that names the line, what was expected and what came.
//
// # Time
//
// Each event has a time relative to the one before it: nothing is at once, +200ms
// later. An expected packet may come as much later than its time as the target's
// slack says: the kernel's timers have their granularity, and its packets are seen
// by a process that has to be scheduled. On our own stack, whose time is passed in,
// there is none.
//
// # Files
//
// script.go has what a script consists of; scan.go, parse*.go and value.go read it,
// format.go writes it. build.go and dissect.go are the packets of the peer's side,
// flow.go their sequence numbers, match.go compares, run*.go run. target.go is the
// contract of the targets: zctap*.go is our stack, engine*.go the user engine around
// it, linux*.go the kernel. mailbox.go is what the two in real time share.
package packet

// Package tcp is TCP (RFC 9293) over payload that stays where the driver put
// it: what is received is passed up as frags of the region, in order data and
// out-of-order data alike, and only tiny payloads are ever copied, when buffers
// are scarce.
//
// A [Conn] is one connection, a [Listener] makes them from SYNs, a [Shared]
// holds what the connections of one stack have in common. Nothing here reads a
// clock, starts a goroutine or knows IP: now is an argument, segments come with
// Input and leave through Shared's Transmit.
//
// # A round of the engine's loop
//
//	c.Input(now, &segment)        for each segment of a batch; c becomes dirty
//	c.Kick, CloseWrite, Close     commands of the application; c becomes dirty
//	c.Advance(now)                for each connection whose Deadline has come
//	sh.WindowCheck()              when buffers were returned
//	for c := sh.NextDirty(); c != nil; c = sh.NextDirty() {
//		c.Output(now)         // one ACK, one publish, one wake, whatever came
//		if c.Done() { ... }   // forget it; else look at c.Deadline()
//		if w := c.Retire(); w != nil { ... } // put it in c's place
//	}
//
// So the work of a batch is done once a connection, not once a segment.
//
// # Who may touch what
//
// The engine's goroutine owns everything in this package but the application's
// side of [SendBuffer] and of Conn.Recv. References: each frag passed to Input
// stands for one kernel reference, which Input takes over, whatever it does with
// the segment.
//
// # What is implemented
//
// RFC 9293 (state machine, with simultaneous open and close), RFC 1122 section
// 4.2, RFC 7323 (window scale, timestamps, PAWS), RFC 6298 (retransmission
// timer), RFC 5681 and RFC 6928 (congestion control, initial window), RFC 9438
// (CUBIC) and RFC 9406 (HyStart++); with peers that understand SACK RFC 2018 and RFC
// 2883 (SACK, DSACK), RFC 8985 (RACK-TLP), RFC 9937 (PRR); RFC 3522 (Eifel) and RFC 3708
// undo what was for nothing; with others RFC 6582 (NewReno) and RFC 3042 (limited transmit); with
// all RFC 5682 (F-RTO); RFC 5961 (blind attacks), RFC 4987 section 3.6 (SYN cookies), RFC 6528 (initial
// sequence numbers), RFC 1337 and RFC 6191 (TIME-WAIT), RFC 2525 section 2.17, the
// user timeout of RFC 5482. Urgent data is read inline (RFC 6093); payload of a SYN
// is not taken, and comes again. RFC 1191 and RFC 8201 (path MTU discovery), with
// RFC 4821's detection of paths that say nothing; RFC 5927 says which ICMP errors are
// believed. RFC 3168 (ECN): who asks gets it, we ask if Config.ECN says so.
package tcp

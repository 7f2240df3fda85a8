// Package ip is the sending half of the internet layer: it turns TCP segments,
// UDP datagrams and ICMP messages into frames and hands them to a driver, a
// batch at a time. (The receiving half is parsing, which package wire does, and
// demultiplexing, which the stack does.)
//
// Headers are built in memory that the [Tx] owns. Payload is not copied: a frame
// names the caller's bytes, and the driver reads them in its Send. Only when the
// wire is full, and frames have to wait, is their payload copied, so that the
// caller may reuse its memory whatever the wire does.
package ip

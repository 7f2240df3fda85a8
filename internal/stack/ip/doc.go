// Package ip is the sending half of the internet layer: it turns TCP segments,
// UDP datagrams and ICMP messages into frames and hands them to a driver, a
// batch at a time. Of the receiving half it has what is no parsing, which package
// wire does, and no demultiplexing, which the stack does: a [Reassembler] puts
// fragments together, and [Errno] says what an ICMP error means.
//
// Headers are built in memory that the [Tx] owns. Payload is not copied: a frame
// names the caller's bytes, and the driver reads them in its Send. Only when the
// wire is full, and frames have to wait, is their payload copied, so that the
// caller may reuse its memory whatever the wire does.
package ip

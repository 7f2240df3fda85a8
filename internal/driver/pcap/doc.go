// Package pcap records what goes over a wire: it decorates a driver.Driver and
// writes the frames of both directions in the format that tcpdump and Wireshark
// read, with timestamps in nanoseconds.
//
// The bytes of a frame are copied out during the Poll or Send that it comes
// with. The tap holds no reference to a buffer, so it neither keeps buffers from
// the queue nor can show bytes that were changed later. It also waits for the
// writer, so a slow one slows down the queue; but an error of the writer does no
// more than end the recording.
//
// What was left to a device to do is not done in the recording, as with any tap
// above the device: sent frames may lack their checksum and their segmentation,
// and received ones may be several segments put together, or lack their
// checksum if they come from our own machine. tcpdump takes such checksums for
// errors; -K keeps it from that.
package pcap

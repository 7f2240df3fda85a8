// Package gvnic is a model of Google's virtual NIC (gVNIC) for a virtual
// machine, in the queue format DQO-RDA that Linux's gve driver uses: rings of
// descriptors with generation bits, header/data split, receive side coalescing,
// segmentation and checksum offload, receive side scaling and flow steering.
// An unmodified gve driver runs on it through lab/vfiouser.
//
// It exists to run the kernel's zero-copy receive where there is no such
// hardware, and to prove what the hardware did: PayloadFrames tells the guest
// page frames that payload was written to, and Stats counts everything. SetFaults
// makes the device misbehave on demand.
//
// Formats and offsets are those of the kernel's
// drivers/net/ethernet/google/gve: gve_register.h, gve_adminq.h and
// gve_desc_dqo.h. They are named in comments where they are used. Registers and
// admin commands are big-endian, descriptors and doorbells little-endian.
//
// # Reading order
//
// device.go, registers.go, admin.go with a file for each group of commands,
// doorbell.go, then with a frame: txqueue.go, wire.go, receive.go, steer.go,
// rxqueue.go, rxplace.go. The other ends of a wire are tap.go, ethernet.go (a
// driver.Driver of IP packets) and, over any end, pcap.go.
//
// # Locks
//
// A Device is called with the vfiouser.Bus's lock held, and takes its own
// mutex inside it. It never calls another end of the wire but for Deliver and
// Ready, which take no lock but that of a mailbox, so that two devices may send
// to each other, or one to itself, at the same time.
//
// # Trust
//
// The guest is hostile. Whatever a ring, a command or a doorbell holds, the
// request or the queue fails, is counted, and is logged; memory stays bounded.
package gvnic

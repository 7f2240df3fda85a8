// Package tun is the driver of a Linux TUN interface: the wire between the
// kernel's network stack and ours, which needs no NIC and, inside a user
// namespace, no root.
//
// A TUN interface hands over IP packets by read(2). With IFF_VNET_HDR and
// TUNSETOFFLOAD it behaves like a NIC with checksum offload, TSO and LRO: a
// Linux TCP sends super-segments of up to 64 KiB, which arrive as one frame,
// and takes such. A read is scattered over a small header buffer and buffers of
// the region, so that the kernel's copy out of the packet, which stands in for
// a NIC's DMA, is the last one: it splits header from data.
//
// Where a header ends is not known before the read; it is predicted from the
// frames before. See predictor.
package tun

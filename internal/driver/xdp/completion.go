//go:build linux

package xdp

import "github.com/zctap/zctap/internal/shring"

// A completionRing is how buffers come back that were sent from
// (XDP_UMEM_COMPLETION_RING). We consume.
type completionRing struct {
	*shring.Consumer
	addrs []uint64 // offsets into the UMEM; written by the kernel
}

// at is entry i, one that Peek returned: the address of a TX descriptor.
func (r *completionRing) at(i uint32) uint64 { return r.addrs[i&r.Mask()] }

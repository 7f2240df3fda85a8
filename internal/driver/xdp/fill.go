//go:build linux

package xdp

import "github.com/zctap/zctap/internal/shring"

// A fillRing is how buffers go to the kernel to be received into
// (XDP_UMEM_FILL_RING). We produce.
type fillRing struct {
	*shring.Producer
	addrs []uint64 // offsets into the UMEM; written by us
}

// set writes entry i, one that Reserve returned, as the chunk that begins at addr.
func (r *fillRing) set(i uint32, addr uint64) { r.addrs[i&r.Mask()] = addr }

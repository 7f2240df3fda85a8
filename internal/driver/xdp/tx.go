//go:build linux

package xdp

import (
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// A txRing is how frames go out (XDP_TX_RING). We produce.
type txRing struct {
	*shring.Producer
	descs []unix.XDPDesc // written by us
}

// set writes entry i, one that Reserve returned: length bytes at addr, with more
// of the same frame in the next entry or not.
func (r *txRing) set(i uint32, addr uint64, length int, more bool) {
	d := unix.XDPDesc{Addr: addr, Len: uint32(length)}
	if more {
		d.Options = unix.XDP_PKT_CONTD
	}
	r.descs[i&r.Mask()] = d
}

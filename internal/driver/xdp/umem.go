//go:build linux

package xdp

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
)

// kernelHeadroom is what the kernel leaves free in front of a frame in the
// buffer that it begins in, for XDP programs to grow it into, bytes.
const kernelHeadroom = unix.XDP_PACKET_HEADROOM

// A umem is a region as AF_XDP has it: buffer i is the chunk at i times the
// buffer size.
type umem struct {
	region   *buf.Region
	headroom int
}

// room is how many bytes of a frame one buffer takes.
func (u *umem) room() int { return u.region.BufferSize() - kernelHeadroom - u.headroom }

// register makes the region the socket's UMEM. The kernel pins all of it.
func (u *umem) register(fd int) error {
	err := registerUMEM(fd, u.region.Memory(), u.region.BufferSize(), u.headroom)
	if err != nil {
		return fmt.Errorf("register the region of %d buffers of %d bytes (%s) as UMEM: %w%s",
			u.region.Count(), u.region.BufferSize(), u.region.Kind(), err, umemHint(err, len(u.region.Memory())))
	}
	return nil
}

//go:build linux

package steer

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// SetSocket gives the matched frames of a receive queue to an AF_XDP socket, which
// must be bound to this very queue of the interface: the kernel drops frames that
// are redirected to another one. The caller keeps the descriptor. When the socket
// is closed, by the end of its process too, the kernel takes it out of the map, and
// the frames go to the kernel again.
//
// Errors: EINVAL for a queue beyond Options.Queues, a descriptor of something else,
// or a socket without an RX ring; EBADF.
func (p *Program) SetSocket(queue, fd int) error {
	if err := p.setSocket(queue, fd); err != nil {
		return fmt.Errorf("steer: setting the socket of queue %d: %w", queue, err)
	}
	return nil
}

func (p *Program) setSocket(queue, fd int) error {
	if err := p.checkQueue(queue); err != nil {
		return err
	}
	if fd < 0 {
		return fmt.Errorf("descriptor %d: %w", fd, unix.EBADF)
	}
	if err := p.use(); err != nil {
		return err
	}
	defer p.mu.RUnlock()
	err := p.sockets.Update(uint32(queue), uint32(fd), ebpf.UpdateAny)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTSOCK):
		return fmt.Errorf("descriptor %d is not an AF_XDP socket: %w", fd, unix.EINVAL)
	case errors.Is(err, unix.ENOBUFS): // since Linux 7
		return fmt.Errorf("the socket of descriptor %d has no RX ring: %w", fd, unix.EINVAL)
	}
	return err
}

// ClearSocket leaves the frames of a queue to the kernel. It does nothing if the
// queue has no socket.
func (p *Program) ClearSocket(queue int) error {
	if err := p.clearSocket(queue); err != nil {
		return fmt.Errorf("steer: removing the socket of queue %d: %w", queue, err)
	}
	return nil
}

func (p *Program) clearSocket(queue int) error {
	if err := p.checkQueue(queue); err != nil {
		return err
	}
	if err := p.use(); err != nil {
		return err
	}
	defer p.mu.RUnlock()
	err := p.sockets.Delete(uint32(queue))
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

func (p *Program) checkQueue(queue int) error {
	if queue < 0 || queue >= p.o.Queues {
		return fmt.Errorf("there are %d, see Options.Queues: %w", p.o.Queues, unix.EINVAL)
	}
	return nil
}

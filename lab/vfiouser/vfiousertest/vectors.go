//go:build linux

package vfiousertest

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxFDs is how many descriptors QEMU sends with one message.
const maxFDs = 16

// EnableVectors sets up MSI-X vectors 0 to n-1, each with an eventfd of its
// own, in place of those that were set up before.
func (c *Client) EnableVectors(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.disableVectors(); err != nil {
		return err
	}
	for range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return fmt.Errorf("vfiousertest: eventfd: %w", err)
		}
		c.vectors = append(c.vectors, fd)
	}
	for start := 0; start < n; start += maxFDs {
		some := c.vectors[start:min(start+maxFDs, n)]
		body := IRQBody(DataEventfd|ActionTrigger, MSIX, uint32(start), uint32(len(some)))
		if _, err := c.do(CmdSetIRQs, body, some...); err != nil {
			return err
		}
	}
	return nil
}

// DisableVectors takes the vectors back.
func (c *Client) DisableVectors() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disableVectors()
}

func (c *Client) disableVectors() error {
	if len(c.vectors) == 0 {
		return nil
	}
	_, err := c.do(CmdSetIRQs, IRQBody(DataNone|ActionTrigger, MSIX, 0, 0))
	c.closeVectors()
	return err
}

func (c *Client) closeVectors() {
	for _, fd := range c.vectors {
		unix.Close(fd)
	}
	c.vectors = nil
}

// IRQBody encodes the body of CmdSetIRQs, with the booleans of DataBool.
func IRQBody(flags, index, start, count uint32, bools ...byte) []byte {
	b := make([]byte, 20, 20+len(bools))
	le.PutUint32(b, uint32(cap(b)))
	le.PutUint32(b[4:], flags)
	le.PutUint32(b[8:], index)
	le.PutUint32(b[12:], start)
	le.PutUint32(b[16:], count)
	return append(b, bools...)
}

// VectorFD returns the eventfd of a vector, which stays the Client's, or -1.
func (c *Client) VectorFD(v int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v < 0 || v >= len(c.vectors) {
		return -1
	}
	return c.vectors[v]
}

// WaitInterrupt waits until vector v is signalled, and takes the signal: many
// before the call are one, as they are for a guest. Without one within timeout
// the error is os.ErrDeadlineExceeded.
func (c *Client) WaitInterrupt(v int, timeout time.Duration) error {
	fd := c.VectorFD(v)
	if fd < 0 {
		return fmt.Errorf("vfiousertest: vector %d is not enabled", v)
	}
	end := time.Now().Add(timeout)
	for {
		left := max(time.Until(end), 0)
		ts := unix.NsecToTimespec(int64(left))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, &ts, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("vfiousertest: ppoll: %w", err)
		case n == 0:
			return fmt.Errorf("vfiousertest: no interrupt on vector %d for %v: %w", v, timeout, os.ErrDeadlineExceeded)
		}
		var count [8]byte
		if _, err := unix.Read(fd, count[:]); err == nil {
			return nil
		} else if !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("vfiousertest: read of vector %d: %w", v, err)
		}
	}
}

// IRQInfo is struct vfio_irq_info: flags (1 eventfd, 2 maskable, 4 automasked,
// 8 noresize) and count, 0 for an interrupt type that the device lacks.
func (c *Client) IRQInfo(index int) (flags, count uint32, err error) {
	b := make([]byte, 16)
	le.PutUint32(b, uint32(len(b)))
	le.PutUint32(b[8:], uint32(index))
	reply, err := c.Do(CmdGetIRQInfo, b)
	if err != nil {
		return 0, 0, err
	}
	if len(reply) != len(b) || le.Uint32(reply) != uint32(len(b)) || le.Uint32(reply[8:]) != uint32(index) {
		return 0, 0, fmt.Errorf("vfiousertest: irq info %x", reply)
	}
	return le.Uint32(reply[4:]), le.Uint32(reply[12:]), nil
}

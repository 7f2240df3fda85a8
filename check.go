package zctap

import (
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ifq"
)

// Bounds of what a Config may say.
const (
	maxBufferSize = 1 << 30 // bytes
	maxRings      = 32      // of ZCRXConfig.Rings
)

// engines is the list of engines to try, in order.
func (c *Config) engines() ([]string, error) {
	all := []string{ZCRX, User, Copy}
	switch c.Engine {
	case "", Auto:
		return all, nil
	case ZCRX, User, Copy:
		return []string{c.Engine}, nil
	}
	return nil, wrong("Engine %q: there are %s and %s", c.Engine, Auto, strings.Join(all, ", "))
}

// check looks for what is wrong with c whatever engine is chosen, so that Auto does not
// take a mistake for an obstacle, and go on to the next engine.
func (c *Config) check() error {
	for _, err := range []error{c.checkRegion(), c.checkLimits(), c.checkTUN(), c.XDP.check(), c.checkZCRX()} {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkRegion() error {
	size, page := c.BufferSize, os.Getpagesize()
	if size == 0 {
		size = page
	}
	if size < page || size > maxBufferSize || bits.OnesCount(uint(size)) != 1 {
		return wrong("BufferSize %d: it is a power of two from %d (a page) to 1 GiB, or 0 for a page", c.BufferSize, page)
	}
	if c.Buffers < 0 || c.Buffers > buf.MaxBuffers {
		return wrong("Buffers %d: a region has 1 to %d, or 0 for the default", c.Buffers, buf.MaxBuffers)
	}
	if c.Memory == nil {
		return nil
	}
	n := len(c.Memory) / size
	switch {
	case len(c.Memory)%size != 0:
		return wrong("Memory of %d bytes: it is not a whole number of buffers of %d bytes", len(c.Memory), size)
	case n < 1 || n > buf.MaxBuffers:
		return wrong("Memory has room for %d buffers of %d bytes: a region has 1 to %d", n, size, buf.MaxBuffers)
	case c.Buffers != 0 && c.Buffers != n:
		return wrong("Buffers %d: Config.Memory has room for %d of %d bytes; leave Buffers 0", c.Buffers, n, size)
	}
	return nil
}

func (c *Config) checkLimits() error {
	switch c.Congestion {
	case "", CongestionCubic, CongestionReno:
	default:
		return wrong("Congestion %q: there are %s and %s", c.Congestion, CongestionCubic, CongestionReno)
	}
	switch {
	case c.RxQueue < 0 || c.RxQueue > ifq.MaxQueue:
		return wrong("RxQueue %d: receive queues are numbered from 0 to %d", c.RxQueue, ifq.MaxQueue)
	case c.MaxHeld < 0:
		return wrong("MaxHeld %d: it is a number of buffers, or 0 to adapt", c.MaxHeld)
	case c.SendMemory < 0:
		return wrong("SendMemory %d: it is a number of bytes, or 0 for the default", c.SendMemory)
	case c.CloseTimeout < 0:
		return wrong("CloseTimeout %v: it is a duration, or 0 for %v", c.CloseTimeout, defaultCloseTimeout)
	}
	return nil
}

func (c *Config) checkTUN() error {
	t := c.TUN
	if t == nil || c.wire != nil {
		return nil
	}
	if t.Name == "" || len(t.Addresses) == 0 {
		return wrong("TUN needs a Name and Addresses")
	}
	if c.Interface != "" && c.Interface != t.Name {
		return wrong("TUN and Config.Interface %q exclude each other: name one device to receive from", c.Interface)
	}
	if t.MTU < 0 {
		return wrong("TUN.MTU %d: it is a number of bytes, or 0 to leave it as it is", t.MTU)
	}
	invalid := func(p netip.Prefix) bool { return !p.IsValid() }
	if slices.ContainsFunc(t.Addresses, invalid) || slices.ContainsFunc(t.Host, invalid) {
		return wrong("TUN has an address that is none: write them with the length of the network's prefix, such as 10.88.0.2/24")
	}
	return nil
}

func (x *XDPConfig) check() error {
	if x == nil {
		return nil
	}
	switch x.Mode {
	case "", XDPZeroCopy, XDPCopy, XDPGeneric:
	default:
		return wrong("XDP.Mode %q: there are %q, %q and %q", x.Mode, XDPZeroCopy, XDPCopy, XDPGeneric)
	}
	for i, q := range x.Queues {
		switch {
		case q < 0:
			return wrong("XDP.Queues: queue %d: receive queues are numbered from 0 (see `ethtool -l`)", q)
		case slices.Contains(x.Queues[:i], q):
			return wrong("XDP.Queues: queue %d is listed twice", q)
		}
	}
	return nil
}

func (c *Config) checkZCRX() error {
	z := c.ZCRX
	switch {
	case z == nil:
	case z.DMABuf < 0:
		return wrong("ZCRX.DMABuf %d: it is a file descriptor, or 0 for none", z.DMABuf)
	case z.DMABuf != 0 && c.Memory == nil:
		return wrong("ZCRX.DMABuf needs Config.Memory, which begins with a mapping of it")
	case z.DMABuf != 0 && z.NoDevice:
		return wrong("ZCRX.DMABuf and NoDevice exclude each other: the kernel can't copy to a DMA buffer")
	case z.NoDevice && c.Interface != "" && c.wire == nil:
		return wrong("ZCRX.NoDevice and Config.Interface exclude each other")
	case z.Reserve < 0:
		return wrong("ZCRX.Reserve %d: it is a number of buffers, or 0 for an eighth of them", z.Reserve)
	case z.DeviceBufferSize < 0:
		return wrong("ZCRX.DeviceBufferSize %d: it is a number of bytes, or 0 for a page", z.DeviceBufferSize)
	case z.Areas < 0:
		return wrong("ZCRX.Areas %d: it is a number of areas, or 0 for one", z.Areas)
	case z.Rings < 0 || z.Rings > maxRings:
		return wrong("ZCRX.Rings %d: there are 1 to %d, or 0 for one", z.Rings, maxRings)
	}
	return nil
}

// wrong is an error about a field of Config.
func wrong(format string, args ...any) error {
	return fmt.Errorf("Config."+format+": %w", append(args, syscall.EINVAL)...)
}

//go:build linux

package vfiousertest

import (
	"fmt"
	"slices"
)

// ReadRegion reads len(p) bytes at off of a region (BAR0 ..., Config).
func (c *Client) ReadRegion(region int, off uint64, p []byte) error {
	body := accessBody(region, off, len(p))
	reply, err := c.Do(CmdRegionRead, body)
	if err != nil {
		return err
	}
	if len(reply) != len(body)+len(p) || !slices.Equal(reply[:len(body)], body) {
		return fmt.Errorf("vfiousertest: read of %d bytes: reply %x to %x", len(p), reply, body)
	}
	copy(p, reply[len(body):])
	return nil
}

// WriteRegion writes p at off of a region.
func (c *Client) WriteRegion(region int, off uint64, p []byte) error {
	body := accessBody(region, off, len(p))
	reply, err := c.Do(CmdRegionWrite, append(body, p...))
	if err != nil {
		return err
	}
	if !slices.Equal(reply, body) {
		return fmt.Errorf("vfiousertest: write of %d bytes: reply %x to %x", len(p), reply, body)
	}
	return nil
}

// accessBody encodes what begins the bodies of CmdRegionRead and CmdRegionWrite.
func accessBody(region int, off uint64, n int) []byte {
	b := make([]byte, 16)
	le.PutUint64(b, off)
	le.PutUint32(b[8:], uint32(region))
	le.PutUint32(b[12:], uint32(n))
	return b
}

// A Write is one of WriteMulti's: 8 bytes at most.
type Write struct {
	Region int
	Off    uint64
	Data   []byte
}

// WriteMulti does several small writes with one message, in order.
func (c *Client) WriteMulti(writes ...Write) error {
	b := le.AppendUint64(nil, uint64(len(writes)))
	for _, w := range writes {
		if len(w.Data) > 8 {
			return fmt.Errorf("vfiousertest: a write of %d bytes in a WriteMulti", len(w.Data))
		}
		b = append(b, accessBody(w.Region, w.Off, len(w.Data))...)
		b = append(b, make([]byte, 8)...)
		copy(b[len(b)-8:], w.Data)
	}
	reply, err := c.Do(CmdRegionWriteMulti, b)
	if err != nil {
		return err
	}
	if !slices.Equal(reply, b[:8]) {
		return fmt.Errorf("vfiousertest: reply %x to %d writes", reply, len(writes))
	}
	return nil
}

// Reset resets the device.
func (c *Client) Reset() error {
	reply, err := c.Do(CmdReset, nil)
	if err == nil && len(reply) > 0 {
		err = fmt.Errorf("vfiousertest: a reply of %d bytes to a reset", len(reply))
	}
	return err
}

// RegionInfo is struct vfio_region_info: flags (1 readable, 2 writable) and
// size in bytes, 0 for a region that the device lacks.
func (c *Client) RegionInfo(region int) (flags uint32, size uint64, err error) {
	b := make([]byte, 32)
	le.PutUint32(b, uint32(len(b)))
	le.PutUint32(b[8:], uint32(region))
	reply, err := c.Do(CmdGetRegionInfo, b)
	if err != nil {
		return 0, 0, err
	}
	if len(reply) != len(b) || le.Uint32(reply) != uint32(len(b)) || le.Uint32(reply[8:]) != uint32(region) {
		return 0, 0, fmt.Errorf("vfiousertest: region info %x", reply)
	}
	return le.Uint32(reply[4:]), le.Uint64(reply[16:]), nil
}

//go:build linux

package gvnic

import (
	"fmt"
	"log/slog"
	"math/bits"
	"syscall"
)

// Limits of the model.
const (
	maxQueues    = 32   // queue pairs; the MSI-X table has room for twice that and one
	maxMTU       = 9000 // bytes of an IP packet
	maxRing      = 4096 // descriptors
	minRing      = 64
	headerBuffer = 128 // bytes of a header buffer; the driver lays them out in steps of this
	maxFlowRules = 1 << 14
	maxFIFO      = 64 << 20
)

// Config describes the device. The zero Config is a NIC with two queue pairs
// and an MTU of 1500 bytes.
type Config struct {
	// Index tells the devices of one machine apart, from 0 to 254: MAC ends in
	// Index+1.
	Index int
	// MAC is the device's address. Zero: 02:1a:e0:00:00:01 for Index 0, and on.
	MAC [6]byte
	// Queues is the number of queue pairs, 1 to 32. 0: 2. Zero-copy receive
	// needs two.
	Queues int
	// MTU is the length in bytes of the largest IP packet, 68 to 9000. 0: 1500.
	MTU int
	// BufferSize is the largest receive buffer in bytes, 2048 or 4096; the
	// driver uses it. 0: 4096.
	BufferSize int
	// Ring is how many descriptors the driver's rings have at first, a power of
	// two between the least and the most that it may ask for. 0: 1024.
	Ring int
	// MinRing and MaxRing are those bounds, powers of two from 64 to 4096.
	// 0: 64 and 4096.
	MinRing, MaxRing int
	// NoRSC makes the device cut up segments although the driver has it put
	// them together (ethtool's rx-gro-hw), as hardware without RSC.
	NoRSC bool
	// NoSplit makes the device offer no header buffers: header/data split is
	// not supported, and `ethtool -G tcp-data-split on` fails.
	NoSplit bool
	// FlowRules is how many steering rules the device holds. 0: 256. Negative:
	// it has no steering.
	FlowRules int
	// RSSOption has the driver ask the device for its hash key and table
	// (option RSS_CONFIG, command QUERY_RSS) instead of keeping its own.
	RSSOption bool
	// LinkSpeed in Mbit/s. 0: 100000.
	LinkSpeed int
	// FIFO is the memory of each receive queue in bytes, in which frames wait
	// for buffers; what it has no room for is dropped. 0: 1 MiB.
	FIFO int
	// WireFrames and WireBytes bound what the peer has sent and the device has
	// not taken from the wire; beyond them the peer waits. 0: 512, and 4 MiB.
	WireFrames, WireBytes int
	// Faults are those from the start.
	Faults Faults
	// Log, if not nil, is told of admin commands that fail (at level Warn) and
	// of queues that come and go (at level Debug). It is called with locks held,
	// and must not call the device.
	Log *slog.Logger
}

// withDefaults fills in what is 0, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Queues, 2)
	setDefault(&c.MTU, 1500)
	setDefault(&c.BufferSize, 4096)
	setDefault(&c.Ring, 1024)
	setDefault(&c.MinRing, minRing)
	setDefault(&c.MaxRing, maxRing)
	setDefault(&c.FlowRules, 256)
	setDefault(&c.LinkSpeed, 100_000)
	setDefault(&c.FIFO, 1<<20)
	setDefault(&c.WireFrames, 512)
	setDefault(&c.WireBytes, 4<<20)
	c.FlowRules = max(c.FlowRules, 0)
	if c.Index < 0 || c.Index > 254 {
		return c, invalid("index %d is not from 0 to 254", c.Index)
	}
	if c.MAC == [6]byte{} {
		c.MAC = [6]byte{0x02, 0x1a, 0xe0, 0, 0, byte(1 + c.Index)}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Queues < 1 || c.Queues > maxQueues:
		return c, invalid("%d queue pairs are not from 1 to %d", c.Queues, maxQueues)
	case c.MAC[0]&1 != 0:
		return c, invalid("MAC address %x is a group's", c.MAC)
	case c.MTU < 68 || c.MTU > maxMTU: // RFC 791 section 3.2
		return c, invalid("MTU %d is not from 68 to %d", c.MTU, maxMTU)
	case c.BufferSize != 2048 && c.BufferSize != 4096:
		return c, invalid("buffer size %d is neither 2048 nor 4096", c.BufferSize)
	case !isRing(c.MinRing, minRing, maxRing) || !isRing(c.MaxRing, c.MinRing, maxRing) || !isRing(c.Ring, c.MinRing, c.MaxRing):
		return c, invalid("rings of %d to %d, at first %d descriptors: powers of two from %d to %d, in order",
			c.MinRing, c.MaxRing, c.Ring, minRing, maxRing)
	case c.FlowRules > maxFlowRules:
		return c, invalid("%d flow rules are more than %d", c.FlowRules, maxFlowRules)
	case c.LinkSpeed < 0:
		return c, invalid("link speed %d", c.LinkSpeed)
	case c.FIFO < 16<<10 || c.FIFO > maxFIFO:
		return c, invalid("receive memory of %d bytes is not from %d to %d", c.FIFO, 16<<10, maxFIFO)
	case c.WireFrames < 0 || c.WireBytes < 0:
		return c, invalid("a wire of %d frames and %d bytes", c.WireFrames, c.WireBytes)
	}
	return c, c.Faults.check()
}

func setDefault(v *int, n int) {
	if *v == 0 {
		*v = n
	}
}

// isRing reports whether n is a power of two from lo to hi.
func isRing(n, lo, hi int) bool {
	return n >= lo && n <= hi && bits.OnesCount(uint(n)) == 1
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("gvnic: "+format+": %w", append(args, syscall.EINVAL)...)
}

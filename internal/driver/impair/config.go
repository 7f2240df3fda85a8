package impair

import (
	"fmt"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/buf"
)

// A Kind is a set of impairments.
type Kind uint8

// The impairments, in the order in which they come over a frame.
const (
	// Drop: the frame is lost, and its buffers are put back.
	Drop Kind = 1 << iota
	// Duplicate: a copy in buffers of its own follows the frame. It may be
	// corrupted, delayed and reordered by its own luck, but does not share its
	// original's, and is never dropped or duplicated again. With no buffers free
	// there is no copy.
	Duplicate
	// Corrupt: one bit of the frame is inverted, in its own memory, and nothing
	// vouches for its checksum any more. See Driver.Poll.
	Corrupt
	// Delay: the frame is held back for a time.
	Delay
	// Reorder: the frame is held back until others have overtaken it. A frame
	// that is delayed is not reordered, too.
	Reorder

	numKinds = iota
	allKinds = 1<<numKinds - 1
)

// A Rule does something to frames by their number: the first that the driver
// receives is frame 1.
type Rule struct {
	// From and To are the first frame and the last. To 0: only From.
	From, To uint64
	// Do is what becomes of them, besides what chance does.
	Do Kind
}

// Config says how bad the wire is. With only the Pool set it is as good as
// without the decorator.
type Config struct {
	// Pool is the one that the decorated driver receives into. Duplicates are
	// allocated from it. Required.
	Pool *buf.Pool
	// Seed is what the randomness comes from.
	Seed uint64

	// How probable it is, from 0 to 1, that a frame meets each kind.
	Drop, Duplicate, Corrupt, Delay, Reorder float64
	// Rules are applied to frames besides, whatever their luck.
	Rules []Rule

	// A delayed frame comes out DelayBy later than it came in, or up to
	// DelayJitter more, all values alike probable.
	DelayBy, DelayJitter time.Duration
	// ReorderBy is how many frames overtake a reordered one. 0: 1.
	ReorderBy int
	// ReorderLimit is after what time it comes out even so. 0: 1 ms.
	ReorderLimit time.Duration

	// Hold bounds how many frames are held back at a time. One too many is
	// dropped. 0: 1024. Beside the frames, they hold their buffers: the pool
	// needs as many more.
	Hold int
}

// withDefaults fills in what is 0, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	if c.ReorderBy == 0 {
		c.ReorderBy = 1
	}
	if c.ReorderLimit == 0 {
		c.ReorderLimit = time.Millisecond
	}
	if c.Hold == 0 {
		c.Hold = 1024
	}
	switch {
	case c.Pool == nil:
		return c, invalid("no pool that the driver receives into")
	case c.DelayBy < 0 || c.DelayJitter < 0 || c.ReorderLimit < 0:
		return c, invalid("a negative time")
	case c.ReorderBy < 0 || c.Hold < 0:
		return c, invalid("a negative number of frames")
	}
	for _, p := range c.probabilities() {
		if !(p >= 0 && p <= 1) { // a NaN, too
			return c, invalid("probability %v is not from 0 to 1", p)
		}
	}
	for i, r := range c.Rules {
		if r.From == 0 || r.To != 0 && r.To < r.From || r.Do == 0 || r.Do&^allKinds != 0 {
			return c, invalid("rule %d: %#x for frames %d to %d", i, r.Do, r.From, r.To)
		}
	}
	if c.does()&Delay != 0 && c.DelayBy+c.DelayJitter == 0 {
		return c, invalid("frames are delayed by nothing: set DelayBy or DelayJitter")
	}
	return c, nil
}

// does is the kinds that can occur.
func (c *Config) does() (k Kind) {
	for i, p := range c.probabilities() {
		if p > 0 {
			k |= 1 << i
		}
	}
	for _, r := range c.Rules {
		k |= r.Do
	}
	return k
}

// probabilities is that of each kind, in the order of their bits.
func (c *Config) probabilities() [numKinds]float64 {
	return [...]float64{c.Drop, c.Duplicate, c.Corrupt, c.Delay, c.Reorder}
}

// ruled is what the rules do to frame n.
func (c *Config) ruled(n uint64) (k Kind) {
	for _, r := range c.Rules {
		if n == r.From || n > r.From && n <= r.To {
			k |= r.Do
		}
	}
	return k
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("impair: "+format+": %w", append(args, syscall.EINVAL)...)
}

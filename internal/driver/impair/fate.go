package impair

import (
	"math/rand/v2"
	"time"
)

// A fate is what becomes of one frame.
type fate struct {
	does Kind
	// bit says which bit Corrupt inverts, and wait what Delay's jitter is, each
	// modulo what there is.
	bit, wait uint64
}

func (f *fate) has(k Kind) bool { return f.does&k != 0 }

// delay is for how long a delayed frame is held back.
func (f *fate) delay(c *Config) time.Duration {
	return c.DelayBy + time.Duration(f.wait%(uint64(c.DelayJitter)+1))
}

// dice draw the fates of frames.
//
// They draw the same number of times for every frame, whatever comes of it and
// whatever is configured. So which frames are dropped, say, does not change
// when a test adds a delay.
type dice struct {
	config *Config
	likely [numKinds]float64 // Config.probabilities
	rand   *rand.Rand
	frames uint64 // drawn for so far
}

func newDice(c *Config) dice {
	return dice{config: c, likely: c.probabilities(), rand: rand.New(rand.NewPCG(c.Seed, 0))}
}

// next draws for the next frame, and for its duplicate in case there is one, of
// which only Corrupt, Delay and Reorder count.
func (d *dice) next() (frame, duplicate fate) {
	d.frames++
	frame, duplicate = d.draw(), d.draw()
	frame.does |= d.config.ruled(d.frames)
	return frame, duplicate
}

func (d *dice) draw() (f fate) {
	for i, p := range d.likely {
		if d.rand.Float64() < p {
			f.does |= 1 << i
		}
	}
	f.bit, f.wait = d.rand.Uint64(), d.rand.Uint64()
	return f
}

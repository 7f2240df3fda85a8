//go:build linux

package lab

import (
	"math"
	"sync"
	"time"
)

// tscFrequency is the frequency of the host's time stamp counter in kHz, or 0 if it
// has none. QEMU's emulated CPU has the same counter. A guest's kernel that has to
// find it out, against emulated timers, gets it wrong by a factor of ten now and
// then while the host is busy, and takes seconds for minutes from then on.
var tscFrequency = sync.OnceValue(func() uint64 {
	const long = 20 * time.Millisecond
	begin, ok := readTSC()
	if !ok {
		return 0
	}
	time.Sleep(long)
	end, _ := readTSC()
	return (end.count - begin.count) * uint64(time.Millisecond) / uint64(end.at.Sub(begin.at))
})

// A tscReading is the counter's value at a time.
type tscReading struct {
	at    time.Time
	count uint64
}

// readTSC reads the counter between two looks at the clock, many times, and takes the
// reading whose time is known best: this thread, too, may be made to wait.
func readTSC() (best tscReading, ok bool) {
	least := time.Duration(math.MaxInt64)
	for range 100 {
		before := time.Now()
		count := rdtsc()
		if d := time.Since(before); d < least {
			least, best = d, tscReading{before.Add(d / 2), count}
		}
	}
	return best, best.count != 0
}

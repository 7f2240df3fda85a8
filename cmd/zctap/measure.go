//go:build linux

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// A meter measures a stretch of this process's life.
type meter struct {
	began     time.Time
	user, sys time.Duration
}

// usage is what a stretch took: wall time, and CPU time of all threads of this
// process, in user and in kernel mode.
type cost struct {
	wall, user, sys time.Duration
}

func (c cost) cpu() time.Duration { return c.user + c.sys }

// startMeter begins to measure.
func startMeter() meter {
	u, s := processTimes()
	return meter{time.Now(), u, s}
}

// stop says what it took since.
func (m meter) stop() cost {
	u, s := processTimes()
	return cost{time.Since(m.began), u - m.user, s - m.sys}
}

func processTimes() (user, sys time.Duration) {
	r := resources()
	return time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
}

// peakResident is the most memory that this process has had resident, in bytes.
func peakResident() int64 { return int64(resources().Maxrss) << 10 }

func resources() (r unix.Rusage) {
	// RUSAGE_SELF can't fail with a valid pointer.
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return r
}

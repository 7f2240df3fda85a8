package packet

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Scripts in real time wait most of it, so many run at once.
const atOnce = 12

// attempts is how often a script is run again, alone, whose time was not kept for want
// of the CPU, before it counts as failed.
const attempts = 5

// outcome is what a script came to on one IP version.
type outcome struct {
	script  *Script
	family  int
	failure *Failure
	err     error // not of the script
	late    bool  // it may have failed for want of the CPU
}

func (o *outcome) name() string { return fmt.Sprintf("%s/IPv%d", title(o.script), o.family) }

func report(t *testing.T, o *outcome) {
	if o.failure != nil {
		t.Error(o.failure)
	}
	if o.err != nil {
		t.Error(o.err)
	}
}

// runAll runs scripts in real time, many at once, those that -test.run has chosen. Each is a
// subtest, for which report says what it came to.
func runAll(t *testing.T, scripts []*Script, newTarget func(Config, int) (Target, error), report func(*testing.T, *outcome)) {
	t.Helper()
	var all []*outcome
	for _, s := range scripts {
		for _, family := range s.Config.Families {
			o := &outcome{script: s, family: family}
			t.Run(o.name(), func(t *testing.T) {
				all = append(all, o)
				t.Parallel() // returns when this function has: then all have run
				report(t, o)
			})
		}
	}
	p := startPulse()
	defer p.stop()
	todo := make(chan *outcome)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for o := range todo {
				o.run(newTarget, p)
			}
		})
	}
	for _, o := range all {
		todo <- o
	}
	close(todo)
	wg.Wait()
	for _, o := range all {
		for n := 0; n < attempts && o.late; n++ {
			o.run(newTarget, p)
		}
	}
}

// run runs the script.
func (o *outcome) run(newTarget func(Config, int) (Target, error), p *pulse) {
	misses := p.misses.Load()
	o.failure, o.late, o.err = runOn(o.script, o.family, newTarget)
	switch {
	case o.failure == nil || o.err != nil:
		o.late = false
	case o.failure.Timing || p.misses.Load() != misses:
		o.late = true
	}
}

// A pulse counts the times that this process did not get the CPU when it wanted to: an
// engine's goroutine, whose waits nobody times, is late then, too.
type pulse struct {
	misses atomic.Int64
	ended  chan struct{}
	gone   chan struct{}
}

func startPulse() *pulse {
	p := &pulse{ended: make(chan struct{}), gone: make(chan struct{})}
	go func() {
		defer close(p.gone)
		const beat = 2 * time.Millisecond
		for {
			before := time.Now()
			select {
			case <-p.ended:
				return
			case <-time.After(beat):
			}
			if time.Since(before) > beat+lateWake {
				p.misses.Add(1)
			}
		}
	}()
	return p
}

func (p *pulse) stop() {
	close(p.ended)
	<-p.gone
}

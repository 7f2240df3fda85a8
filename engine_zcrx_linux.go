package zctap

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/nic"
)

// settingsEvery is how often it is looked whether somebody has set the interface so that
// packets of others come to the queue, or its own do not.
const settingsEvery = 5 * time.Second

// A zcrxEngine is an engine on a receive queue that was prepared for it, and is
// put back in order behind it.
type zcrxEngine struct {
	engine.Engine
	nic  *nic.Applied
	lost atomic.Uint64 // times that the settings were found to be others
	end  chan struct{}
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

func newZCRXEngine(e engine.Engine, a *nic.Applied) *zcrxEngine {
	z := &zcrxEngine{Engine: e, nic: a, end: make(chan struct{})}
	z.wg.Go(z.watch)
	return z
}

// watch looks at the settings from time to time. It does not put back what somebody wanted
// otherwise.
func (e *zcrxEngine) watch() {
	tick := time.NewTicker(settingsEvery)
	defer tick.Stop()
	for was := false; ; {
		select {
		case <-e.end:
			return
		case <-tick.C:
		}
		// Another error is that of an interface that has gone, which the engine sees.
		now := errors.Is(e.nic.Drifted(), syscall.ESTALE)
		if now && !was {
			e.lost.Add(1)
		}
		was = now
	}
}

// Close stops the engine, which frees the queue, and then undoes what was
// changed on the interface: while the queue is bound the kernel refuses that.
func (e *zcrxEngine) Close() error {
	e.once.Do(func() {
		close(e.end)
		e.wg.Wait()
		err := e.Engine.Close()
		_, undone := e.nic.Undo()
		e.err = errors.Join(err, undone)
	})
	return e.err
}

// Stats is the engine's, and what there is to tell of the interface: whether somebody has
// set it otherwise, and whether a kill would leave it changed.
func (e *zcrxEngine) Stats(s *engine.Stats) {
	e.Engine.Stats(s)
	s.Event("settings-lost", e.lost.Load())
	if e.nic.Volatile() != nil {
		s.Event("no-journal", 1)
	}
}

// NeedsCapabilities says what listening and closing need CAP_NET_ADMIN for.
func (e *zcrxEngine) NeedsCapabilities() error {
	return fmt.Errorf("engine %s sets flow rules of %s, and puts it back in order when it is closed: %w", ZCRX, e.nic.Interface(), syscall.EBUSY)
}

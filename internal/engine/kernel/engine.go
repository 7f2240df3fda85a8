//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/zctap/zctap/internal/engine"
)

// Names of the backends, for Options.
const (
	BackendURing = "uring"
	BackendReadv = "readv"
	BackendZCRX  = "zcrx"
)

// Options are what concerns this engine only. The zero value is right for
// most.
type Options struct {
	// Backend is BackendURing or BackendReadv, for the engine "copy"; empty is
	// uring where the kernel can do it, else readv. BackendZCRX is the engine
	// "zcrx", and needs ZCRX.
	Backend string
	ZCRX    ZCRXOptions
	// Interface is where multicast groups are joined; empty leaves it to their
	// zones, and to the kernel.
	Interface string
}

// An Engine is the engine "copy" or "zcrx" of one interface queue. It uses its
// pool and completion queue alone until Close.
type Engine struct {
	loop    *loop   // the first, which listens and has the UDP sockets
	loops   []*loop // all: more than one if several rings share the queue
	backend string
	why     string
	passed  error                          // why it is not a better one; nil if it is the best, or was asked for
	more    []func(*loop) (backend, error) // backends of the loops after the first

	opened  chan struct{}  // closed when all loops have opened, or one could not
	running sync.WaitGroup // loops

	congestion string // of the sockets made; "": the system's

	steering   steering
	steerDials bool
	iface      string // Options.Interface
}

var _ engine.Engine = (*Engine)(nil)

// New starts an engine. EINVAL for a wrong configuration. A backend asked for
// by name that this kernel can't do is an error that says why.
func New(cfg engine.Config, o Options) (*Engine, error) {
	switch {
	case cfg.Pool == nil || cfg.CQ == nil:
		return nil, fmt.Errorf("kernel: an engine needs a pool and a completion queue: %w", syscall.EINVAL)
	case cfg.MaxHeld < 0:
		return nil, fmt.Errorf("kernel: MaxHeld %d: %w", cfg.MaxHeld, syscall.EINVAL)
	}
	candidates, err := choose(o)
	if err != nil {
		return nil, err
	}
	e, err := start(cfg, candidates, defaults(cfg, o))
	if err != nil {
		return nil, err
	}
	e.steerBy(o.ZCRX)
	e.iface = o.Interface
	return e, nil
}

// steerBy says how flows come to the queue, before there are any.
func (e *Engine) steerBy(o ZCRXOptions) {
	if e.backend == BackendZCRX {
		e.steering.put, e.steerDials = o.Steer, o.SteerDials
	}
}

// start runs the first of the candidates that works, with all of its loops or none.
func start(cfg engine.Config, candidates []candidate, t tuning) (*Engine, error) {
	e := &Engine{loop: newLoop(cfg, t), congestion: cfg.Congestion, opened: make(chan struct{})}
	err := e.launch(e.loop, func() error { return e.open(candidates) })
	for i := 0; err == nil && i < len(e.more); i++ {
		l := newLoop(cfg, t)
		err = e.launch(l, func() (err error) {
			l.back, err = e.more[i](l)
			return err
		})
	}
	unite(e.loops)
	if err != nil {
		e.stop()
	}
	close(e.opened)
	if err != nil {
		e.running.Wait()
		return nil, err
	}
	return e, nil
}

// launch starts l on a thread of its own, where it opens, and waits for the others
// to have done so.
func (e *Engine) launch(l *loop, open func() error) error {
	e.loops = append(e.loops, l)
	started := make(chan error)
	e.running.Go(func() {
		l.run(func() error {
			err := open()
			started <- err
			if err == nil {
				<-e.opened
			}
			return err
		})
	})
	return <-started
}

func (e *Engine) stop() {
	for _, l := range e.loops {
		l.post(command{op: opStop})
	}
}

// open makes the first backend that works, on the loop's thread.
func (e *Engine) open(candidates []candidate) error {
	var failed []error
	for _, c := range candidates {
		b, err := c.open(e.loop)
		if err == nil {
			e.loop.back, e.backend, e.why, e.more = b, c.name, c.reason, c.more
			if e.passed = errors.Join(failed...); e.passed != nil {
				e.why = e.passed.Error()
			}
			return nil
		}
		failed = append(failed, fmt.Errorf("kernel: backend %s: %w", c.name, err))
	}
	return errors.Join(failed...)
}

// Name is "zcrx" if that is its backend, else "copy".
func (e *Engine) Name() string {
	if e.backend == BackendZCRX {
		return "zcrx"
	}
	return "copy"
}

// Backend says which backend runs, and why that one.
func (e *Engine) Backend() (name, why string) { return e.backend, e.why }

// CopyMode is the name of the backend of engine "copy", and why it is not a better one, if
// none was asked for.
func (e *Engine) CopyMode() (backend string, why error) {
	if e.backend == BackendZCRX {
		return "", nil
	}
	return e.backend, e.passed
}

// Close implements engine.Engine. Its error is what could not be undone.
func (e *Engine) Close() error {
	e.stop()
	e.running.Wait()
	var errs []error
	for _, l := range e.loops {
		errs = append(errs, l.closeErr)
	}
	return errors.Join(append(errs, e.steering.close())...)
}

package zctap

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/ifq"
	"github.com/zctap/zctap/internal/sockq"
)

// Open makes a region and a queue that receives into it, with the best engine
// that works (Config.Engine). A failure leaves nothing behind. A wrong Config is EINVAL,
// whatever the engine, and an Interface that does not exist ENODEV. Else the error names the
// obstacle for each engine that was tried: ErrNotSupported for what this system can't do,
// or what the system said, such as EPERM.
// The queue is the caller's to close.
func Open(c Config) (*Queue, error) {
	fail := func(err error) (*Queue, error) {
		queue := c.RxQueue
		if queue == 0 {
			queue = -1 // which one is the engine's choice
		}
		return nil, &OpError{Op: "open", Interface: c.Interface, Queue: queue, Err: err}
	}
	names, err := c.engines()
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return fail(err)
	}
	var why []Reason
	for _, name := range names {
		q, err := openEngine(&c, name)
		if err == nil {
			q.why = why
			return q, nil
		}
		if len(names) == 1 || c.missing(name, err) {
			return fail(fmt.Errorf("engine %s: %w", name, err))
		}
		why = append(why, Reason{Engine: name, Err: err})
	}
	return fail(noEngine(why))
}

// missing reports whether err, of the named engine, says that there is no Interface. It is no
// obstacle to go around: Copy would listen on all the others in its place. A TUN device is made if
// there is none, and ENODEV says that the kernel can't.
func (c *Config) missing(name string, err error) bool {
	return name == User && c.Interface != "" && c.TUN == nil && errors.Is(err, syscall.ENODEV)
}

// noEngine is the error of Auto when nothing works.
type noEngine []Reason

func (e noEngine) Error() string {
	s := "no engine works here"
	for _, r := range e {
		s += "; " + r.String()
	}
	return s
}

func (e noEngine) Unwrap() (errs []error) {
	for _, r := range e {
		errs = append(errs, r.Err)
	}
	return errs
}

// An unsupported error is of a package below, and says that something can't be
// done here: ErrNotSupported to errors.Is.
type unsupported struct{ error }

func (e unsupported) Unwrap() error      { return e.error }
func (unsupported) Is(target error) bool { return target == ErrNotSupported }

// openEngine opens a queue with one engine.
func openEngine(c *Config, name string) (*Queue, error) {
	q, err := openDevice(c, name)
	if errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, ErrNotSupported) {
		err = unsupported{err}
	}
	return q, err
}

func openDevice(c *Config, name string) (*Queue, error) {
	d, err := newDevice(c, name)
	if err != nil {
		return nil, err
	}
	queue := c.RxQueue
	if d.chooses {
		queue = ifq.AnyQueue
	}
	q := &Queue{iface: c.Interface, rxQueue: c.RxQueue, cq: sockq.NewCQ()}
	q.notices.Owner = q
	d.config = engine.Config{
		CQ: q.cq, MaxHeld: c.MaxHeld, SendMemory: c.SendMemory, Congestion: c.Congestion, ECN: c.ECN, HopLimit: c.HopLimit,
	}
	q.ifq, err = ifq.Register(d, &ifq.Args{
		Queue:         queue,
		RemoveTimeout: c.closeTimeout(),
		Region: buf.RegionConfig{
			Buffers:     c.buffers(),
			BufferSize:  c.BufferSize,
			Memory:      c.Memory,
			Heap:        c.wire != nil && raceEnabled,
			NoHugePages: c.NoHugePages,
		},
	})
	if err != nil {
		return nil, err
	}
	q.pool, q.engine = q.ifq.Pool(), d.engine
	if d.queue != 0 {
		q.rxQueue = d.queue
	}
	return q, nil
}

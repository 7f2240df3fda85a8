package zctap

import (
	"fmt"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/ifq"
	"github.com/zctap/zctap/internal/sockq"
)

// Open makes a region and a queue that receives into it, with the best engine
// that works (Config.Engine). A failure leaves nothing behind; its error names
// the obstacle for each engine that was tried.
func Open(c Config) (*Queue, error) {
	fail := func(err error) (*Queue, error) {
		return nil, &OpError{Op: "open", Interface: c.Interface, Queue: c.RxQueue, Err: err}
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
		if len(names) == 1 {
			return fail(fmt.Errorf("engine %s: %w", name, err))
		}
		why = append(why, Reason{Engine: name, Err: err})
	}
	return fail(noEngine(why))
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

// openEngine opens a queue with one engine.
func openEngine(c *Config, name string) (*Queue, error) {
	d, err := newDevice(c, name)
	if err != nil {
		return nil, err
	}
	q := &Queue{iface: c.Interface, rxQueue: c.RxQueue, cq: sockq.NewCQ()}
	q.notices.Owner = q
	d.cq, d.maxHeld, d.congestion = q.cq, c.MaxHeld, c.Congestion
	q.ifq, err = ifq.Register(d, &ifq.Args{
		Queue:         c.RxQueue,
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

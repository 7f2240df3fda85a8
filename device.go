package zctap

import (
	"errors"
	"net/netip"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/engine/user"
	"github.com/zctap/zctap/internal/ifq"
)

// A device is the ifq's side of an engine: setting up the queue starts the
// engine on the queue's pool, and closing it stops the engine.
type device struct {
	name    string
	config  engine.Config // the pool is the queue's
	start   func(engine.Config) (engine.Engine, error)
	engine  engine.Engine
	queue   int  // the receive queue that start chose; 0: the one asked for
	chooses bool // start chooses the queue, and says so in queue
}

// Name is the key of the device in the table of queues in use.
func (d *device) Name() string { return d.name }

// SetupQueue starts the engine.
func (d *device) SetupQueue(q *ifq.Queue) (err error) {
	d.config.Pool = q.Pool()
	d.engine, err = d.start(d.config)
	if err != nil || !d.chooses {
		return err
	}
	if err := q.Choose(d.queue); err != nil {
		return errors.Join(err, d.engine.Close())
	}
	return nil
}

// CloseQueue stops the engine; afterwards it holds no buffer. There is none in
// a wire's end whose other end could not be opened.
func (d *device) CloseQueue(*ifq.Queue) error {
	if d.engine == nil {
		return nil
	}
	return d.engine.Close()
}

// startUser starts the user engine on a driver, which it owns from here on.
func startUser(e engine.Config, d driver.Driver, addrs []netip.Prefix) (engine.Engine, error) {
	u, err := user.New(e, user.Options{Driver: d, Prefixes: addrs})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return u, nil
}

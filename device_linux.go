package zctap

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/tun"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/engine/kernel"
	"github.com/zctap/zctap/internal/netns"
)

// newDevice says how the named engine would be started for c, or why it can't.
func newDevice(c *Config, name string) (*device, error) {
	switch name {
	case ZCRX:
		return zcrxDevice(c)
	case User:
		return userDevice(c)
	default:
		return copyDevice(c)
	}
}

// sockets numbers the queues of engine Copy: they belong to no device, and any
// number of them can be open.
var sockets counter

// A counter makes names for queues that belong to no device.
type counter struct{ n atomic.Uint64 }

func (c *counter) next() uint64 { return c.n.Add(1) }

func copyDevice(c *Config) (*device, error) {
	if c.wire != nil {
		return nil, fmt.Errorf("%w: a wire in memory has no kernel sockets", ErrNotSupported)
	}
	return &device{
		name: fmt.Sprintf("sockets %d", sockets.next()),
		start: func(e engine.Config) (engine.Engine, error) {
			return kernel.New(e, kernel.Options{Interface: c.Interface})
		},
	}, nil
}

func userDevice(c *Config) (*device, error) {
	switch {
	case c.wire != nil:
		return c.wire.device(), nil
	case c.TUN != nil:
		return tunDevice(c.TUN), nil
	case c.Interface != "":
		return xdpDevice(c), nil
	}
	return nil, fmt.Errorf("%w: no device is named (Config.Interface or Config.TUN)", ErrNotSupported)
}

func tunDevice(t *TUN) *device {
	return &device{
		name: t.Name,
		start: func(e engine.Config) (engine.Engine, error) {
			d, dropped, err := openTUN(t, e.Pool)
			if err != nil {
				return nil, err
			}
			if len(t.Host) > 0 {
				if err := configureHost(t); err != nil {
					return nil, errors.Join(err, d.Close())
				}
			}
			u, err := startUser(e, d, t.Addresses)
			if err != nil {
				return nil, err
			}
			return &tunEngine{u, dropped}, nil
		},
	}
}

// A tunEngine tells besides what the kernel drops before the engine sees it.
type tunEngine struct {
	engine.Engine
	dropped func() uint64
}

// Stats is the engine's, and the device's.
func (e *tunEngine) Stats(s *engine.Stats) {
	e.Engine.Stats(s)
	s.Drop("tun-dropped", e.dropped())
}

func openTUN(t *TUN, pool *buf.Pool) (d driver.Driver, dropped func() uint64, err error) {
	device, err := tun.Open(tun.Config{Name: t.Name, Device: t.Device, MTU: t.MTU, Pool: pool})
	switch {
	case err != nil:
		return nil, nil, err
	case t.over == nil:
		return device, device.Dropped, nil
	}
	if d, err = t.over(device, pool); err != nil {
		return nil, nil, errors.Join(err, device.Close())
	}
	return d, device.Dropped, nil
}

// hostTimeout bounds the wait for the kernel to use the addresses it was given.
const hostTimeout = 5 * time.Second

// configureHost sets up the kernel's side of a TUN device.
func configureHost(t *TUN) error {
	if err := netns.ConfigureLink(t.Name, t.Host, 0); err != nil {
		return err
	}
	return netns.WaitAddresses(t.Host, hostTimeout)
}

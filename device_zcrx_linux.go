package zctap

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/engine/kernel"
	"github.com/zctap/zctap/internal/nic"
)

// zcrxNoDevices numbers the queues of engine ZCRX that have no device.
var zcrxNoDevices counter

func zcrxDevice(c *Config) (*device, error) {
	z := c.ZCRX
	if z == nil {
		z = &ZCRXConfig{}
	}
	switch {
	case c.wire != nil:
		return nil, fmt.Errorf("%w: a wire in memory has no kernel sockets", ErrNotSupported)
	case c.TUN != nil:
		return nil, fmt.Errorf("%w: a TUN device has no receive queue that the kernel could fill", ErrNotSupported)
	case z.NoDevice:
		return &device{
			name: fmt.Sprintf("zcrx without a device %d", zcrxNoDevices.next()),
			start: func(e engine.Config) (engine.Engine, error) {
				o := z.options()
				o.NoDevice = true
				return startZCRX(e, o, c.Interface)
			},
		}, nil
	case c.Interface == "":
		return nil, fmt.Errorf("%w: no interface is named (Config.Interface)", ErrNotSupported)
	}
	d := &device{name: c.Interface}
	want := nic.Want{Queue: c.RxQueue, ManualSteering: z.ManualSteering, JournalDir: z.JournalDir}
	if c.RxQueue == 0 {
		want.Queue, d.chooses = nic.AnyQueue, true
	}
	d.start = func(e engine.Config) (engine.Engine, error) {
		o := z.options()
		if err := o.Check(e.Pool); err != nil {
			return nil, withObstacles(err, c.Interface, want)
		}
		a, err := nic.Prepare(c.Interface, want)
		if err != nil {
			return nil, err
		}
		d.queue = a.Queue()
		o.Interface, o.Queue = a.Index(), a.Queue()
		o.NAPI, o.QueueFree = a.NAPI, a.WaitFree
		o.Counters = func() (received, dropped uint64, err error) {
			s, err := a.Stats()
			if err == nil && s.Packets == nil {
				err = ErrNotSupported
			}
			if err != nil {
				return 0, 0, err
			}
			return *s.Packets, s.Dropped(), nil
		}
		if !z.ManualSteering {
			o.Steer = func(local netip.AddrPort) (func() error, error) { return steerFlow(a, local) }
		}
		k, err := startZCRX(e, o, c.Interface)
		if err != nil {
			_, undone := a.Undo()
			return nil, errors.Join(err, undone)
		}
		return newZCRXEngine(k, a), nil
	}
	return d, nil
}

// withObstacles adds to why the engine can't be what is in its way on the interface, too.
func withObstacles(err error, iface string, want nic.Want) error {
	p, obstacles := nic.NewPlan(iface, want)
	if obstacles != nil {
		return fmt.Errorf("%w; and %w", obstacles, err)
	}
	return errors.Join(err, p.Close())
}

// options are those of the engine that z says.
func (z *ZCRXConfig) options() kernel.ZCRXOptions {
	return kernel.ZCRXOptions{
		Reserve: z.Reserve, BufferSize: z.DeviceBufferSize, Areas: z.Areas, Rings: z.Rings, DMABuf: z.DMABuf, SteerDials: z.SteerDials,
	}
}

func startZCRX(e engine.Config, o kernel.ZCRXOptions, iface string) (engine.Engine, error) {
	return kernel.New(e, kernel.Options{Backend: kernel.BackendZCRX, ZCRX: o, Interface: iface})
}

// steerFlow has the NIC put TCP for local into the queue, until undo is called.
func steerFlow(a *nic.Applied, local netip.AddrPort) (undo func() error, err error) {
	f := nic.Flow{Proto: nic.TCP, Local: local}
	if err := a.AddFlow(f); err != nil {
		return nil, err
	}
	return func() error { return a.RemoveFlow(f) }, nil
}

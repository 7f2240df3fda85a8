package zctap

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/zctap/zctap/internal/driver/xdp"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/engine/user"
	"github.com/zctap/zctap/internal/hostnet"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/steer"
)

// xdpDevice is engine user on a network interface, by AF_XDP, beside the kernel:
// with its addresses, routes and neighbors, and the flows that are zctap's only.
func xdpDevice(c *Config) *device {
	x := c.XDP
	if x == nil {
		x = &XDPConfig{}
	}
	d := &device{name: c.Interface}
	d.start = func(e engine.Config) (engine.Engine, error) {
		s := &shared{}
		u, err := s.open(c.Interface, x, e)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		return u, nil
	}
	return d
}

// shared is an interface that zctap shares with the kernel, and what is undone
// when it is left. All of it ends with the process, too.
type shared struct {
	ns      *netns.NS
	host    *hostnet.Host
	program *steer.Program
	link    *steer.Link

	mu     sync.Mutex
	claims map[*hostPort]struct{} // that the engine has not given back
}

// open takes the parts up in the order in which they need each other.
func (s *shared) open(iface string, x *XDPConfig, e engine.Config) (_ *xdpEngine, err error) {
	mode, attach, err := x.modes()
	if err != nil {
		return nil, err
	}
	s.claims = map[*hostPort]struct{}{}
	if s.ns, err = netns.Current(); err != nil {
		return nil, err
	}
	if s.host, err = hostnet.Watch(iface); err != nil {
		return nil, err
	}
	if s.program, err = steer.Load(steer.Options{}); err != nil {
		return nil, err
	}
	if s.link, err = s.program.Attach(s.host.Index(), attach); err != nil {
		return nil, err
	}
	d, err := xdp.Open(xdp.Config{
		Index: s.host.Index(), Queues: x.Queues, Pool: e.Pool, Mode: mode, Resolver: s,
		Register: s.program.SetSocket,
		// It fails only when the program is gone, and with it the map.
		Unregister: func(queue int) { _ = s.program.ClearSocket(queue) },
	})
	if err != nil {
		return nil, err
	}
	prefixes := s.prefixes()
	u, err := user.New(e, user.Options{Driver: d, Prefixes: prefixes, Host: s})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	x2 := &xdpEngine{Engine: u, shared: s}
	x2.stop = s.host.OnChange(func(ev hostnet.Event) {
		if ev.Kind == hostnet.AddressAdded || ev.Kind == hostnet.AddressRemoved {
			// Addresses that no interface can have the kernel has not either.
			_ = x2.follow()
		}
	})
	if err := x2.follow(); err != nil {
		return nil, errors.Join(err, x2.Close())
	}
	return x2, nil
}

// prefixes are the interface's addresses, but for link-local ones, which would
// need a zone.
func (s *shared) prefixes() (out []netip.Prefix) {
	for _, p := range s.host.Addrs() {
		if !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p)
		}
	}
	return out
}

// MAC is xdp.Resolver: the kernel's neighbor table, which the kernel is asked to
// complete and, as long as we send there, to keep fresh.
func (s *shared) MAC(dst netip.Addr) (mac [6]byte, ok bool) {
	s.host.Resolve(dst) // does nothing if the neighbor is fine
	return s.host.MAC(dst)
}

// close undoes open, as far as it came. The driver is closed.
func (s *shared) close() (err error) {
	if s.link != nil {
		err = errors.Join(err, s.link.Close())
	}
	s.mu.Lock()
	for p := range s.claims {
		p.free()
	}
	clear(s.claims)
	s.mu.Unlock()
	if s.program != nil {
		err = errors.Join(err, s.program.Close())
	}
	if s.host != nil {
		err = errors.Join(err, s.host.Close())
	}
	if s.ns != nil {
		err = errors.Join(err, s.ns.Close())
	}
	return err
}

// An xdpEngine is engine user on a shared interface.
type xdpEngine struct {
	*user.Engine
	shared *shared
	stop   func() // following changes
	once   sync.Once
	err    error
}

// follow takes over the addresses that the kernel has now.
func (e *xdpEngine) follow() error {
	prefixes := e.shared.prefixes()
	var addrs []netip.Addr
	for _, p := range prefixes {
		addrs = append(addrs, p.Addr())
	}
	return errors.Join(e.shared.program.SetAddresses(addrs), e.SetPrefixes(prefixes))
}

// Close stops the engine, and leaves the interface as it was.
func (e *xdpEngine) Close() error {
	e.once.Do(func() {
		e.stop()
		e.err = errors.Join(e.Engine.Close(), e.shared.close())
	})
	return e.err
}

// modes are what Mode means to driver and program.
func (x *XDPConfig) modes() (xdp.Mode, steer.Mode, error) {
	switch x.Mode {
	case "":
		return xdp.Auto, steer.Auto, nil
	case XDPZeroCopy:
		return xdp.ZeroCopy, steer.Native, nil
	case XDPCopy:
		return xdp.Copy, steer.Native, nil
	case XDPGeneric:
		return xdp.Copy, steer.Generic, nil
	}
	return 0, 0, fmt.Errorf("Config.XDP.Mode %q: there are %q, %q and %q", x.Mode, XDPZeroCopy, XDPCopy, XDPGeneric)
}

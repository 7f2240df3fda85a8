package zctap

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/zctap/zctap/internal/driver/xdp"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/engine/user"
	"github.com/zctap/zctap/internal/hostnet"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/nic"
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
		u, err := s.open(c, x, e)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		return u, nil
	}
	return d
}

// shared is an interface that zctap shares with the kernel, and what is undone
// when it is left. All of it ends with the process, too, but for what is kept,
// which has a journal.
type shared struct {
	ns      *netns.NS
	host    *hostnet.Host
	kept    *nic.Kept
	program *steer.Program
	steered attachment
	driver  *xdp.Driver // the engine's

	mu     sync.Mutex
	claims map[*hostPort]struct{} // that the engine has not given back
}

// open takes the parts up in the order in which they need each other.
func (s *shared) open(c *Config, x *XDPConfig, e engine.Config) (_ *xdpEngine, err error) {
	mode, attach := x.modes()
	s.claims = map[*hostPort]struct{}{}
	if s.ns, err = netns.Current(); err != nil {
		return nil, err
	}
	if s.host, err = hostnet.Watch(c.Interface); err != nil {
		return nil, err
	}
	if s.program, err = steer.Load(steer.Options{Queues: steer.MaxQueues}); err != nil {
		return nil, err
	}
	s.steered = attachment{program: s.program, ns: s.ns, index: s.host.Index(), fail: func(error) {}}
	if x.Mode == "" && len(x.Queues) == 0 && xdp.Uncut(c.Interface) {
		attach, s.steered.forTCP = steer.Generic, made
	}
	if err := s.attach(attach, x.JournalDir); err != nil {
		return nil, err
	}
	s.driver, err = xdp.Open(xdp.Config{
		Index: s.host.Index(), Queues: x.Queues, Pool: e.Pool, Mode: mode, Resolver: s,
		Register: s.program.SetSocket, CloseTimeout: c.closeTimeout(),
		Unregister: func(queue int) {
			s.steered.detachFirst()
			// It fails only when the program is gone, and with it the map.
			_ = s.program.ClearSocket(queue)
		},
	})
	if err != nil {
		return nil, err
	}
	if err := s.steered.resume(); err != nil {
		return nil, errors.Join(err, s.driver.Close())
	}
	prefixes := s.prefixes()
	u, err := user.New(e, user.Options{Driver: s.driver, Prefixes: prefixes, Host: s, Confirm: s.host.Confirm, Stats: s.ringStats})
	if err != nil {
		return nil, errors.Join(err, s.driver.Close())
	}
	x2 := &xdpEngine{Engine: u, shared: s}
	s.steered.fail = u.Fail
	if err := x2.watch(len(x.Queues) == 0); err != nil {
		return nil, errors.Join(err, x2.Close())
	}
	return x2, nil
}

// attach attaches the program. In generic mode the kernel turns features of the
// interface off, which close turns on again.
func (s *shared) attach(mode steer.Mode, journalDir string) (err error) {
	// Whatever the mode, what a killed process has left is undone first.
	if s.kept, err = nic.Keep(s.host.Index(), nic.GenericXDP, journalDir); err != nil {
		return err
	}
	if err := s.steered.attach(mode, s.host.Name(), s.host.MTU()); err != nil {
		return err
	}
	if s.steered.link.Mode() != steer.Generic {
		return s.kept.Undo() // nothing was turned off
	}
	return nil
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
	err = s.steered.close()
	if s.kept != nil {
		err = errors.Join(err, s.kept.Undo())
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

// modes are what Mode, which has been checked, means to driver and program.
func (x *XDPConfig) modes() (xdp.Mode, steer.Mode) {
	switch x.Mode {
	case XDPZeroCopy:
		return xdp.ZeroCopy, steer.Native
	case XDPCopy:
		return xdp.Copy, steer.Native
	case XDPGeneric:
		return xdp.Copy, steer.Generic
	}
	return xdp.Auto, steer.Auto
}

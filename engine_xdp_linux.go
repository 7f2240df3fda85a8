package zctap

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/zctap/zctap/internal/driver/xdp"
	"github.com/zctap/zctap/internal/engine/user"
	"github.com/zctap/zctap/internal/hostnet"
	"github.com/zctap/zctap/internal/nic"
	"github.com/zctap/zctap/internal/steer"
)

// An xdpEngine is engine user on a shared interface: it follows what becomes of
// that.
type xdpEngine struct {
	*user.Engine
	shared   *shared
	stop     func()            // following the interface; nil: it was not begun
	channels *nic.ChannelWatch // nil: the kernel does not tell, or it was not begun

	changes [hostnet.NeighborRemoved + 1]atomic.Uint64 // of the interface, by kind

	once    sync.Once
	err     error
	verdict atomic.Pointer[steer.Counters] // the last ones, of Close
}

// watch begins to follow the interface. all says that the engine is meant to have
// all receive queues.
func (e *xdpEngine) watch(all bool) (err error) {
	s := e.shared
	e.stop = s.host.OnChange(e.changed)
	if err := e.follow(); err != nil {
		return err
	}
	e.SetMTU(s.host.MTU())
	bound := s.driver.Queues()
	e.channels, err = nic.WatchChannels(s.host.Index(), func(c nic.Channels) {
		if err := lacksQueues(s.host.Name(), c.RXQueues(), bound, all); err != nil {
			e.Fail(err)
		}
	})
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = nil
	}
	return err
}

// lacksQueues is the error of an engine that is bound to some queues of an
// interface that now has so many.
func lacksQueues(iface string, queues int, bound []int, all bool) error {
	switch {
	case all && queues > len(bound):
		return fmt.Errorf("%s has %d receive queues now, and had %d: what it receives by the others does not get here; close and open again: %w",
			iface, queues, len(bound), syscall.ESTALE)
	case queues <= slices.Max(bound):
		return fmt.Errorf("%s has %d receive queues now, and queue %d is no more; close and open again: %w",
			iface, queues, slices.Max(bound), syscall.ESTALE)
	}
	return nil
}

// changed takes over what has changed about the interface. That it is up again or
// has another link address the driver sees itself, and that it is gone.
func (e *xdpEngine) changed(ev hostnet.Event) {
	defer e.changes[ev.Kind].Add(1) // when it has been taken over
	switch ev.Kind {
	case hostnet.AddressAdded, hostnet.AddressRemoved:
		// Addresses that no interface can have the kernel has not either.
		_ = e.follow()
	case hostnet.MTUChanged:
		if mtu := e.shared.host.MTU(); mtu > 0 {
			e.SetMTU(mtu)
		}
	}
}

// follow takes over the addresses that the kernel has now.
func (e *xdpEngine) follow() error {
	prefixes := e.shared.prefixes()
	return errors.Join(e.shared.program.SetPrefixes(prefixes), e.SetPrefixes(prefixes))
}

// Close stops the engine, and leaves the interface as it was.
func (e *xdpEngine) Close() error {
	e.once.Do(func() {
		var err error
		if e.channels != nil {
			err = e.channels.Close()
		}
		if e.stop != nil {
			e.stop()
		}
		err = errors.Join(err, e.Engine.Close())
		if c, err := e.shared.program.Counters(); err == nil {
			e.verdict.Store(&c)
		}
		e.err = errors.Join(err, e.shared.close())
	})
	return e.err
}

// XDPMode is Queue.XDPMode.
func (e *xdpEngine) XDPMode() (mode string, why error) {
	m, why := e.shared.steered.mode()
	switch {
	case m == steer.Auto: // closed
		return "", nil
	case m == steer.Generic:
		return XDPGeneric, why
	case e.shared.driver.Mode() == xdp.ZeroCopy:
		return XDPZeroCopy, why
	}
	return XDPCopy, errors.Join(why, e.shared.driver.Fallback())
}

// NeedsCapabilities says why Close needs a capability, or is nil.
func (e *xdpEngine) NeedsCapabilities() error {
	if !e.shared.kept.Pending() {
		return nil
	}
	return fmt.Errorf("closing needs CAP_NET_ADMIN, to turn on features of %s that generic XDP has turned off: %w",
		e.shared.host.Name(), syscall.EBUSY)
}

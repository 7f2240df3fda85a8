//go:build linux

package hostnet

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// A Host is what the kernel knows about one interface, kept up to date. Its
// methods may be called from any goroutine and thread, whatever network
// namespace that is in. Those that look something up neither block nor
// allocate, unless they say so.
//
// Addresses that are passed in may be IPv4 in IPv6 form; a zone is ignored, for
// it can only be the interface.
type Host struct {
	index     int
	state     atomic.Pointer[state]
	neighbors neighborTable
	version   atomic.Uint64
	listeners listeners
	counters  counters

	asker   *asker
	watcher *watcher
	done    chan struct{} // closed by Close
	once    sync.Once
	wg      sync.WaitGroup
}

// Watch follows the interface called name, in the network namespace of the
// calling thread, until Close. Following needs no capability; [Host.Resolve] needs
// CAP_NET_ADMIN, or CAP_NET_RAW now, [Host.Confirm] the former. An error is unix.ENODEV if there is no such
// interface.
func Watch(name string) (*Host, error) { return watch(name, 0, options{}) }

// WatchIndex is Watch for the interface with an index.
func WatchIndex(index int) (*Host, error) { return watch("", index, options{}) }

// Close stops following and returns when nothing runs or is open any more. The
// answers stay what they were. It must not be called from an OnChange function.
// It is idempotent, and its error is always nil.
func (h *Host) Close() error {
	h.once.Do(func() {
		close(h.done)
		h.watcher.events.close()
		h.wg.Wait()
		h.watcher.requests.close()
		h.asker.close()
	})
	return nil
}

// Version is raised after each change that a lookup may show. Who reads it
// before a lookup may keep the answer for as long as it stays the same.
func (h *Host) Version() uint64 { return h.version.Load() }

// Index is the interface's index, which no renaming changes.
func (h *Host) Index() int { return h.index }

// Name is the interface's name, the last one if it was deleted.
func (h *Host) Name() string { return h.state.Load().link.name }

// Deleted reports whether the interface is gone, or in another network
// namespace. That is final; all lookups fail.
func (h *Host) Deleted() bool { return h.state.Load().link.deleted }

// LinkUp reports whether the interface is up and running: configured so, with a
// carrier, and not kept dormant by 802.1X or a bond.
func (h *Host) LinkUp() bool { return h.state.Load().link.up() }

// MTU is the size in bytes of the largest packet that the interface sends, the
// link layer's header not counted. 0 if it was deleted.
func (h *Host) MTU() int { return h.state.Load().link.mtu }

// HardwareAddr is the interface's MAC address, all zero if it has none.
func (h *Host) HardwareAddr() [6]byte { return h.state.Load().link.mac }

// PolicyRules reports whether the kernel looks routes up by other rules than
// the default ones (see ip-rule(8)), so that its answers may differ from ours.
func (h *Host) PolicyRules() bool { return h.state.Load().policy }

// Addrs returns the addresses of the interface, each with the length of its
// subnet's prefix, in the kernel's order. Addresses that the kernel does not use
// yet (tentative) or ever (duplicate) are not among them, deprecated ones are.
// The slice is a new one, the caller's.
func (h *Host) Addrs() []netip.Prefix {
	s := h.state.Load()
	list := make([]netip.Prefix, 0, len(s.addrs))
	for _, a := range s.addrs {
		if a.usable() {
			list = append(list, a.prefix)
		}
	}
	return slices.Clip(list)
}

// Stats are counters since Watch, all only growing.
type Stats struct {
	Notifications uint64 // messages of the kernel that concerned the interface
	Dumps         uint64 // tables read
	Overruns      uint64 // times that notifications were lost (ENOBUFS)
	Failures      uint64 // dumps that failed, or were interrupted too often
	// IgnoredRoutes and IgnoredNeighbors were too many to be kept.
	IgnoredRoutes, IgnoredNeighbors uint64
	// Asked counts what Resolve and Confirm had the kernel do, AskDropped what
	// was too much at a time, AskFailed what the kernel refused.
	Asked, AskDropped, AskFailed uint64
}

type counters struct {
	notifications, dumps, overruns, failures atomic.Uint64
	ignoredRoutes, ignoredNeighbors          atomic.Uint64
	asked, askDropped, askFailed             atomic.Uint64
	askError                                 atomic.Pointer[error]
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	c := &h.counters
	return Stats{
		Notifications:    c.notifications.Load(),
		Dumps:            c.dumps.Load(),
		Overruns:         c.overruns.Load(),
		Failures:         c.failures.Load(),
		IgnoredRoutes:    c.ignoredRoutes.Load(),
		IgnoredNeighbors: c.ignoredNeighbors.Load(),
		Asked:            c.asked.Load(),
		AskDropped:       c.askDropped.Load(),
		AskFailed:        c.askFailed.Load(),
	}
}

// AskError is the last error of the kernel's to what Resolve or Confirm asked:
// os.ErrPermission without the capability. Nil if there was none.
func (h *Host) AskError() error {
	if err := h.counters.askError.Load(); err != nil {
		return fmt.Errorf("hostnet: asking the kernel about a neighbor on %s: %w", h.Name(), *err)
	}
	return nil
}

//go:build linux

package hostnet

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// askInterval is how often the kernel is asked about one next hop. It sends
	// three requests, a second apart, before it gives up.
	askInterval = time.Second
	// askSlotInterval bounds, with the number of slots, what all callers ask for
	// together.
	askSlotInterval = 100 * time.Millisecond
	// askQueue is how many questions may wait.
	askQueue = 256
	// askBudget is how many neighbors the kernel is made to look for in a second.
	// Its table holds 1024 by default, which are also everybody else's.
	askBudget = 128
)

// question is something to ask the kernel about a next hop.
type question struct {
	hop     netip.Addr
	confirm bool
	mac     [6]byte // to be confirmed
	// deaf says that the kernel solicits the neighbor only for a packet.
	deaf bool
}

// asker asks questions on a goroutine of its own: the kernel answers when it has
// got its big lock (the RTNL), and somebody else may have that for seconds.
type asker struct {
	requests  *conn
	nudge     *nudge
	queue     chan question
	resolving limiter
	confirms  limiter
	start     time.Time
	// mayNotConfirm: CAP_NET_ADMIN is missing, and does not come back.
	mayNotConfirm atomic.Bool

	second time.Time // when the budget began
	spent  int
}

func newAsker(index int) (*asker, error) {
	requests, err := dial()
	if err != nil {
		return nil, err
	}
	a := &asker{requests: requests, nudge: newNudge(index), queue: make(chan question, askQueue), start: time.Now()}
	for _, l := range []*limiter{&a.resolving, &a.confirms} {
		l.seed = key{rand.Uint64(), rand.Uint64()}
		l.each, l.slot = askInterval, askSlotInterval
	}
	return a, nil
}

func (a *asker) close() {
	a.requests.close()
	a.nudge.close()
}

// Resolve has the kernel find the MAC address of the next hop to dst, by ARP or
// neighbor discovery, or verify it if it has not heard of the next hop for a
// while. It returns at once and may be called for every packet, also for one
// that is sent to a known MAC: it does something only about next hops that are
// missing, failed or stale, and at most once a second about each. What comes out
// is told as NeighborChanged, with a state that is Usable or Failed; no earlier
// than three seconds after Resolve for one that does not answer. It reports
// whether there is a next hop to be found; if not there will be no answer.
//
// It needs CAP_NET_ADMIN, or CAP_NET_RAW at the time of Watch, with which it can
// do without later; for IPv6 on an interface without a link-local address only the
// latter will do. See AskError.
func (h *Host) Resolve(dst netip.Addr) bool {
	s := h.state.Load()
	dst = plain(dst)
	hop := s.route(dst)
	if hop.verdict != unicast || s.link.flags&(unix.IFF_NOARP|unix.IFF_LOOPBACK|unix.IFF_POINTOPOINT) != 0 {
		return false
	}
	next := hop.via(dst)
	if n, ok := h.neighbors.get(next); ok && n.State&^(Failed|Stale) != 0 {
		return true // well, or the kernel is at it
	}
	h.ask(&h.asker.resolving, question{hop: next, deaf: next.Is6() && !s.hasLinkLocal()})
	return true
}

// Confirm tells the kernel that the next hop to dst is alive, as seen by a
// protocol that it does not see (RFC 4861 section 7.3.1, and what dst_confirm
// does in the kernel). That spares the kernel asking and keeps the entry from
// being dropped as unused. Call it only for forward progress: an acknowledgement
// of something that was sent to dst. A packet alone is no proof that what we send
// arrives. It may be called for every one; it does something only if the entry is
// stale, which it becomes after half a minute.
//
// It needs CAP_NET_ADMIN, without which it does nothing after the first time; see
// AskError. The kernel asks the neighbor itself then.
func (h *Host) Confirm(dst netip.Addr) {
	dst = plain(dst)
	hop := h.state.Load().route(dst)
	if hop.verdict != unicast {
		return
	}
	n, ok := h.neighbors.get(hop.via(dst))
	if !ok || n.State&(Stale|Delay|Probe) == 0 || h.asker.mayNotConfirm.Load() {
		return
	}
	h.ask(&h.asker.confirms, question{hop: n.Addr, confirm: true, mac: n.MAC})
}

// ask passes a question on, if the limiter allows.
func (h *Host) ask(l *limiter, q question) {
	if !l.allow(q.hop, time.Since(h.asker.start)) {
		return
	}
	select {
	case h.asker.queue <- q:
	default:
		h.counters.askDropped.Add(1)
	}
}

// answer asks the kernel what is in the queue, until Close.
func (h *Host) answer() {
	defer h.wg.Done()
	a := h.asker
	for {
		select {
		case <-h.done:
			return
		case q := <-a.queue:
			if !q.confirm && !a.affords(time.Now()) {
				h.counters.askDropped.Add(1)
				continue
			}
			asked, err := a.put(h.index, q)
			if asked {
				h.counters.asked.Add(1)
			}
			if err != nil {
				h.counters.askFailed.Add(1)
				h.counters.askError.Store(&err)
			}
		}
	}
}

// affords takes one from the budget, if there is any left.
func (a *asker) affords(now time.Time) bool {
	if now.Sub(a.second) >= time.Second {
		a.second, a.spent = now, 0
	}
	a.spent++
	return a.spent <= askBudget
}

// put asks the kernel one question, after a look at the entry as it is now: what
// the administrator has made permanent in the meantime must stay that, and
// either request would take it away. It reports whether anything was asked.
func (a *asker) put(index int, q question) (asked bool, err error) {
	var now Neighbor
	err = a.requests.do(unix.RTM_GETNEIGH, 0, neighborBody(index, q.hop, 0, 0), func(m message) {
		if i, n, ok := parseNeighbor(m.payload); ok && i == index && n.Addr == q.hop {
			now = n
		}
	})
	missing := errors.Is(err, unix.ENOENT)
	if err != nil && !missing {
		return false, err
	}
	switch {
	case !q.confirm && now.State&^(Failed|Stale) != 0:
		return false, nil
	case q.confirm && (missing || now.State&(Stale|Delay|Probe) == 0):
		return false, nil
	case q.confirm:
		// With the MAC and without NLM_F_REPLACE: if it is another by now,
		// nothing happens.
		body := neighborBody(index, q.hop, Reachable, 0)
		err = a.requests.do(unix.RTM_NEWNEIGH, 0, appendAttribute(body, unix.NDA_LLADDR, q.mac[:]), nil)
	case q.deaf && now.State != Stale && a.nudge.has(q.hop):
		err = a.nudge.send(index, q.hop)
	case missing:
		err = a.requests.do(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_EXCL, neighborBody(index, q.hop, 0, unix.NTF_USE), nil)
	default:
		err = a.requests.do(unix.RTM_NEWNEIGH, 0, neighborBody(index, q.hop, 0, unix.NTF_USE), nil)
	}
	switch {
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOENT):
		err = nil // it came or went between the two requests
	case errors.Is(err, unix.EPERM) && q.confirm:
		a.mayNotConfirm.Store(true)
	case errors.Is(err, unix.EPERM) && a.nudge.has(q.hop):
		// CAP_NET_ADMIN was given up. The socket is open still.
		err = a.nudge.send(index, q.hop)
	}
	return err == nil, err
}

// neighborBody is a struct ndmsg and the address that it is about.
func neighborBody(index int, a netip.Addr, state State, flags uint8) []byte {
	family := byte(unix.AF_INET6)
	if a.Is4() {
		family = unix.AF_INET
	}
	b := make([]byte, 0, 64)
	b = append(b, family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint16(b, uint16(state))
	b = append(b, flags, 0)
	return appendAttribute(b, unix.NDA_DST, a.AsSlice())
}

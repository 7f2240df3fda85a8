//go:build linux

package kernel

import (
	"errors"
	"time"

	"github.com/zctap/zctap/internal/uring"
)

// uringBackend receives with multishot requests: one SQE for a connection's
// whole life, as long as it is well within its limit, and buffers that the
// kernel takes from the provided ring when it has payload. Near its limit the
// loop reads itself, when a poll request says that there is something.
type uringBackend struct {
	requests
	bufs  provided
	flags uring.RecvFlags
}

// setups are the rings to try, best first. DEFER_TASKRUN receives on this
// thread and only when it asks, so in batches.
var setups = []uring.SetupFlags{
	uring.SetupSingleIssuer | uring.SetupDeferTaskrun | uring.SetupSubmitAll,
	uring.SetupCoopTaskrun | uring.SetupSubmitAll,
	0,
}

func openURing(l *loop) (backend, error) {
	if err := errors.Join(uring.Have(uring.Basic), uring.Have(uring.MultishotRecv)); err != nil {
		return nil, err
	}
	u := &uringBackend{}
	u.l, u.recv = l, u
	flags := setups
	if l.plain {
		flags = flags[len(flags)-1:]
	} else if uring.Have(uring.BundleRecv) == nil {
		u.flags |= uring.RecvBundle
	}
	var ring *uring.Ring
	for _, f := range flags {
		var err error
		ring, err = uring.New(l.sqEntries, uring.Params{Flags: f, CQEntries: l.cqEntries})
		if err == nil {
			break
		}
		if !errors.Is(err, uring.ErrNotSupported) || f == 0 {
			return nil, err
		}
	}
	u.ring = ring
	if err := u.open(ring); err != nil {
		return nil, errors.Join(err, u.close())
	}
	return u, nil
}

func (u *uringBackend) open(ring *uring.Ring) (err error) {
	if !u.l.plain {
		// Saves a look-up of the file in each call; kernels before 5.18 lack it.
		_ = ring.RegisterRingFD()
	}
	if u.bufs.ring, err = ring.NewBufRing(uring.BufRingConfig{Entries: uint32(u.l.ringSize)}); err != nil {
		return err
	}
	u.bufs.init(u.l)
	return u.openWaker()
}

func (u *uringBackend) close() error {
	var err error
	if u.bufs.ring != nil {
		err = u.bufs.ring.Close()
	}
	err = errors.Join(err, u.closeRing())
	if u.l.failure == nil {
		// Nothing is attached, so no request has a buffer. After a failure some may:
		// then the buffers stay the kernel's, and the pool reports them.
		u.bufs.put(u.l)
	}
	return err
}

func (u *uringBackend) round(timeout time.Duration) error {
	u.bufs.refill(u.l)
	if err := u.exchange(timeout); err != nil {
		return err
	}
	for {
		cqes, err := u.reap()
		if len(cqes) == 0 {
			u.serveReady()
			return err
		}
		for i := range cqes {
			u.completion(&cqes[i])
		}
	}
}

// credit is what limit.go says: the loop allocates each buffer.
func (u *uringBackend) credit(s *socket) int { return u.l.credit(s) }

func (u *uringBackend) ready() int { return u.l.pool.Free() + len(u.l.stock) + u.bufs.held() }

// collect has nothing to do: buffers that come back are the pool's.
func (u *uringBackend) collect() {}

func (u *uringBackend) hungry() bool { return false }

// event is of interface queues, which this backend has not.
func (u *uringBackend) event(*uring.CQE) {}
func (u *uringBackend) filled()          {}

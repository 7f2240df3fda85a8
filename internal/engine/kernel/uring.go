//go:build linux

package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
)

// uringBackend receives with multishot requests: one SQE for a connection's
// whole life, as long as it is well within its limit, and buffers that the
// kernel takes from the provided ring when it has payload. Near its limit the
// loop reads itself, when a poll request says that there is something.
type uringBackend struct {
	l     *loop
	ring  *uring.Ring
	bufs  provided
	flags uring.RecvFlags

	// How others wake the thread: by a message, or where the kernel can't send
	// one from outside a ring by an eventfd that is polled.
	waker *uring.Waker
	bell  *eventfd

	out    []uring.SQE // requests not yet pushed
	idle   []*socket   // streams to be armed, once the ring is refilled
	queue  []*socket   // to be read from by the loop itself, in turn
	next   []*socket   // of the next round
	cqes   [256]uring.CQE
	broken error // the kernel did what it can't do
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
	u := &uringBackend{l: l}
	flags := setups
	if l.plain {
		flags = flags[len(flags)-1:]
	} else if uring.Have(uring.BundleRecv) == nil {
		u.flags |= uring.RecvBundle
	}
	for _, f := range flags {
		var err error
		u.ring, err = uring.New(l.sqEntries, uring.Params{Flags: f, CQEntries: l.cqEntries})
		if err == nil {
			break
		}
		if !errors.Is(err, uring.ErrNotSupported) || f == 0 {
			return nil, err
		}
	}
	if err := u.open(); err != nil {
		return nil, errors.Join(err, u.close())
	}
	return u, nil
}

func (u *uringBackend) open() (err error) {
	if !u.l.plain {
		// Saves a look-up of the file in each call; kernels before 5.18 lack it.
		_ = u.ring.RegisterRingFD()
	}
	if u.bufs.ring, err = u.ring.NewBufRing(uring.BufRingConfig{Entries: uint32(u.l.ringSize)}); err != nil {
		return err
	}
	u.bufs.init(u.l)
	if !u.l.plain && uring.Have(uring.MsgRingWake) == nil {
		u.waker = u.ring.Waker(uint64(reqWake)<<opShift, 0)
		return nil
	}
	if u.bell, err = newEventfd(); err != nil {
		return err
	}
	u.armBell()
	return nil
}

func (u *uringBackend) armBell() {
	u.push(uring.PollAdd(u.bell.fd, unix.POLLIN, uring.PollMultishot, uint64(reqWake)<<opShift))
}

func (u *uringBackend) wake() {
	if u.waker == nil {
		u.bell.ring()
		return
	}
	for {
		err := u.waker.Wake()
		if err == nil || errors.Is(err, uring.ErrClosed) || errors.Is(err, unix.EOWNERDEAD) {
			return
		}
		// The kernel is short of memory. A wake that is lost is lost for good.
		runtime.Gosched()
	}
}

func (u *uringBackend) busy() bool { return len(u.next) > 0 }

func (u *uringBackend) close() error {
	var errs []error
	if u.bufs.ring != nil {
		errs = append(errs, u.bufs.ring.Close())
	}
	errs = append(errs, u.ring.Close())
	if u.l.failure == nil {
		// Nothing is attached, so no request has a buffer. After a failure some may:
		// then the buffers stay the kernel's, and the pool reports them.
		u.bufs.put(u.l)
	}
	if u.bell != nil {
		errs = append(errs, u.bell.close())
	}
	return errors.Join(errs...)
}

func (u *uringBackend) round(timeout time.Duration) error {
	u.bufs.refill(u.l)
	u.armIdle()
	if err := u.submit(); err != nil {
		return err
	}
	wait := 1
	if timeout == 0 || u.busy() || u.l.unasked() || u.ring.Ready() > 0 || len(u.out) > 0 {
		wait = 0
	}
	u.l.stats.syscalls.Add(1)
	if _, err := u.ring.Enter(wait, timeout); err != nil && !uring.Busy(err) {
		return err
	}
	for {
		n := u.ring.Reap(u.cqes[:])
		for i := range n {
			u.completion(&u.cqes[i])
		}
		if u.broken != nil {
			return u.broken
		}
		if n == len(u.cqes) {
			continue
		}
		if !u.ring.Overflowing() {
			break
		}
		// The kernel has more, and room for it now.
		u.l.stats.overflows.Add(1)
		if _, err := u.ring.Enter(0, 0); err != nil && !uring.Busy(err) {
			return err
		}
	}
	u.serveReady()
	return nil
}

// push queues a request for the next round.
func (u *uringBackend) push(sqe uring.SQE) { u.out = append(u.out, sqe) }

// submit moves requests to the ring; what does not fit is handed to the kernel
// first. What the kernel can't take now waits for the next round.
func (u *uringBackend) submit() error {
	pushed := 0
	for _, sqe := range u.out {
		err := u.ring.Push(sqe)
		if errors.Is(err, uring.ErrQueueFull) {
			u.l.stats.syscalls.Add(1)
			if _, err := u.ring.Submit(); err != nil && !uring.Busy(err) {
				return err
			}
			err = u.ring.Push(sqe)
		}
		if errors.Is(err, uring.ErrQueueFull) {
			break
		}
		if err != nil {
			return err
		}
		pushed++
	}
	u.out = append(u.out[:0], u.out[pushed:]...)
	return nil
}

// breakdown ends the loop: what the kernel says can't be.
func (u *uringBackend) breakdown(err error) {
	if u.broken == nil {
		u.broken = fmt.Errorf("kernel: %w", err)
	}
}

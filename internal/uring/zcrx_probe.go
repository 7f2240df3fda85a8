//go:build linux

package uring

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// zcrxRing is the ring that interface queues need.
const zcrxRing = SetupSingleIssuer | SetupDeferTaskrun

func probeSetup(flags SetupFlags) func() error {
	return func() error {
		r, err := New(2, Params{Flags: flags})
		if err != nil {
			return err
		}
		return r.Close()
	}
}

// nopCQE32 asks a nop for a large completion (IORING_NOP_CQE32): Off and Addr come back as its second half.
const nopCQE32 = 1 << 5

// probeMixed lets a queue of mixed completions overflow with a large one in its last slot. Kernels before 7.3 hand that slot
// out twice then: they lose completions, and repeat old ones.
func probeMixed() error {
	r, err := New(8, Params{Flags: SetupCQEMixed, CQEntries: 8})
	if err != nil {
		return err
	}
	return errors.Join(tryMixed(r), r.Close())
}

func tryMixed(r *Ring) error {
	const total = 9
	batch := 0
	for i := range uint64(total) {
		sqe := Nop(i)
		if i == 7 {
			sqe.OpFlags = nopCQE32
		}
		if err := r.Push(sqe); err != nil {
			return err
		}
		if batch++; batch == 4 || i == total-1 {
			batch = 0
			if _, err := r.Enter(0, 0); err != nil && !Busy(err) {
				return err
			}
		}
	}
	seen := make(map[uint64]int)
	for range total {
		var c [total]CQE
		for _, c := range c[:r.Reap(c[:])] {
			seen[c.UserData]++
		}
		if _, err := r.Enter(0, 0); err != nil && !Busy(err) {
			return err
		}
	}
	for i := range uint64(total) {
		if seen[i] != 1 || r.Stats() != (Stats{}) {
			return fmt.Errorf("uring: completions of two sizes go wrong when the queue is full: %d of the %dth came: %w", seen[i], i+1, ErrNotSupported)
		}
	}
	return nil
}

// probeRecvZC asks for the operation: to try it takes an interface queue.
func probeRecvZC() error {
	return withProbeRing(func(r *Ring) error {
		p, err := r.Probe()
		if err != nil {
			return err
		}
		return supported(p.Supports(OpRecvZC), nil)
	})
}

// probeZCRX registers an interface queue whose description lies at an address that nothing is mapped at. The kernel looks at
// the privilege and the ring first, so a fault says that everything else would have been looked at too. The ring belongs to
// the thread that made it: to another the kernel says EEXIST.
func probeZCRX() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(2, Params{Flags: zcrxRing | SetupCQE32})
	if err != nil {
		return err
	}
	return errors.Join(judgeZCRX(r.registerNowhere(registerZCRXIfq, 1)), r.Close())
}

func judgeZCRX(errno unix.Errno) error {
	switch errno {
	case unix.EFAULT:
		return nil
	case unix.EPERM:
		return fmt.Errorf("%w: needs CAP_NET_ADMIN in the first user namespace: %w", errno, ErrNotSupported)
	case unix.EINVAL:
		return fmt.Errorf("%w: the kernel does not know the operation: %w", errno, ErrNotSupported)
	case unix.EOPNOTSUPP:
		return fmt.Errorf("%w: the kernel is built without CONFIG_IO_URING_ZCRX: %w", errno, ErrNotSupported)
	case 0:
		return errors.New("the kernel registered nothing")
	}
	return errno
}

// haveControl tells whether the kernel knows an operation on interface queues.
func haveControl(op uint32) error {
	q, err := QueryZCRX()
	return supported(q.ControlOps > int(op), err)
}

func probeControl(op uint32) func() error {
	return func() error { return haveControl(op) }
}

func probeRegisterFlag(flag uint64) func() error {
	return func() error {
		q, err := QueryZCRX()
		return supported(q.RegisterFlags&flag != 0, err)
	}
}

// probeExport takes both directions.
func probeExport() error {
	q, err := QueryZCRX()
	return supported(q.RegisterFlags&zcrxRegImport != 0 && q.ControlOps > ctrlExport, err)
}

func probeBufferSize() error {
	q, err := QueryZCRX()
	return supported(q.Features&zcrxFeatBufLen != 0, err)
}

// probeEvents takes the events, and that they can be armed again.
func probeEvents() error {
	q, err := QueryZCRX()
	if err := supported(q.Features&zcrxFeatEvent != 0 && q.ControlOps > ctrlArmEvent, err); err != nil {
		return err
	}
	e, err := QueryZCRXEvents()
	return supported(e.Events&knownZCRXEvents == knownZCRXEvents && e.StatsSize >= zcrxStatsSize, err)
}

package ifq

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/zctap/zctap/internal/buf"
)

var errRegistered = fmt.Errorf("already registered by this process, close that first: %w", syscall.EBUSY)

// Register binds a queue of dev, a device of the caller's network namespace, to a new region. Errors, after each of which
// nothing is left and the same call can be tried again:
//
//	EINVAL      no arguments, queue id out of range, bad sizes or alignment
//	ENODEV      no device
//	EFAULT      region memory that is not mapped writable
//	EEXIST      region memory that belongs to another region
//	ENOMEM      no memory for the region
//	EBUSY       the queue is registered already
//	others      the device's own: ENODEV, EOPNOTSUPP, EPERM, ERANGE...
func Register(dev Device, args *Args) (*Queue, error) {
	switch {
	case args == nil:
		return nil, fmt.Errorf("ifq: no arguments: %w", syscall.EINVAL)
	case dev == nil:
		return nil, fmt.Errorf("ifq: no device: %w", syscall.ENODEV)
	}
	q := &Queue{dev: dev, key: tableKey{namespace(), dev.Name(), args.Queue}, timeout: args.RemoveTimeout}
	if q.timeout == 0 {
		q.timeout = DefaultRemoveTimeout
	}
	if args.Queue < AnyQueue || args.Queue > MaxQueue {
		return nil, q.fail(fmt.Errorf("queue ids are from 0 to %d: %w", MaxQueue, syscall.EINVAL))
	}
	if q.key.queue != AnyQueue && !table.claim(q) {
		return nil, q.fail(errRegistered)
	}
	r, err := buf.NewRegion(args.Region)
	if err != nil {
		table.release(q)
		return nil, q.fail(err)
	}
	q.pool = buf.NewPool(r)
	if err := dev.SetupQueue(q); err != nil {
		// Never opened, and so not closed.
		return nil, q.fail(errors.Join(err, q.remove()))
	}
	return q, nil
}

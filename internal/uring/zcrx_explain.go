//go:build linux

package uring

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// explainZCRX says why the kernel refused to register an interface queue, as far as can be found out from here: no message
// comes with the errno, so it lists what may be the cause and what to do.
func explainZCRX(cfg *ZCRXConfig, errno unix.Errno) error {
	what := fmt.Sprintf("interface %d, queue %d", cfg.Interface, cfg.Queue)
	if cfg.NoDevice {
		what = "no device"
	}
	err := wrapRegister("ZCRX_IFQ, "+what, errno)
	hint, final := zcrxHint(cfg, errno)
	if hint != "" {
		err = fmt.Errorf("%w: %s", err, hint)
	}
	if final {
		err = fmt.Errorf("%w: %w", err, ErrNotSupported)
	}
	return err
}

// zcrxHint is what an errno of the registration may mean. final says that nothing but another kernel, device or privilege
// would help.
func zcrxHint(cfg *ZCRXConfig, errno unix.Errno) (hint string, final bool) {
	switch errno {
	case unix.EPERM:
		return "needs CAP_NET_ADMIN in the first user namespace: run as root, or setcap cap_net_admin,cap_ipc_lock+ep", true
	case unix.EINVAL:
		return invalidZCRX(cfg)
	case unix.EFAULT:
		return "the area or the refill ring is not mapped, or not writable", false
	case unix.ENODEV:
		return "no interface of that index in this network namespace, or it is down: ip link set dev ... up", false
	case unix.EOPNOTSUPP:
		if cfg.NoDevice {
			return "without a device buffers are pages", false
		}
		if cfg.BufferSize != 0 {
			return "the driver has no memory providers for its queues, or not with buffers of this size: take those of a page (DeviceBufferSize 0)", true
		}
		return "the driver has no memory providers for its queues (queue management operations), or the kernel is built without CONFIG_IO_URING_ZCRX", true
	case unix.ERANGE:
		if cfg.BufferSize != 0 {
			return "the interface has no such queue (ethtool -l), or the area is not contiguous in pieces of BufferSize: use huge pages", false
		}
		return "the interface has no such receive queue, or the driver does not allow it on this one: ethtool -L ... combined N, and a queue other than 0", false
	case unix.EEXIST:
		if cfg.NoDevice {
			return "another thread owns the ring", false
		}
		return "an XDP program is attached (ip link set dev ... xdp off), or the queue is bound already, perhaps by a process that has just ended: wait until queue-get shows no io-uring;" +
			" or another thread owns the ring", false
	case unix.EBUSY:
		return "the queue is in use by AF_XDP, or leased to another namespace", false
	case unix.ENODATA:
		return "the driver did not take the area for its queue", true
	case unix.ENOMEM:
		return pinHint(), false
	case unix.EBADF:
		return "the area's descriptor is no DMA buffer", false
	}
	return "", false
}

// invalidZCRX says what may be invalid, once this package's own checks have passed.
func invalidZCRX(cfg *ZCRXConfig) (hint string, final bool) {
	if err := Have(ZCRX); err != nil {
		return err.Error(), true
	}
	asked := []struct {
		yes bool
		f   Feature
	}{
		{cfg.NoDevice, ZCRXNoDevice}, {cfg.BufferSize != 0, ZCRXBufferSize}, {cfg.Events != 0 || cfg.Stats, ZCRXNotices},
	}
	for _, a := range asked {
		if !a.yes {
			continue
		}
		if err := Have(a.f); err != nil {
			return err.Error(), true
		}
	}
	if cfg.NoDevice {
		return "the memory of the area or the refill ring is not whole pages", false
	}
	return "as a rule the interface does not split headers from data: ethtool -G ... tcp-data-split on hds-thresh 0 (mlx5: ethtool -K ... rx-gro-hw on before)", false
}

// explainImport does the same for the import of an exported queue.
func explainImport(fd int, errno unix.Errno) error {
	err := wrapRegister(fmt.Sprintf("ZCRX_IFQ, import of descriptor %d", fd), errno)
	switch errno {
	case unix.EPERM:
		return fmt.Errorf("%w: needs CAP_NET_ADMIN in the first user namespace: %w", err, ErrNotSupported)
	case unix.EBADF:
		return fmt.Errorf("%w: no exported interface queue", err)
	case unix.EINVAL:
		if have := Have(ZCRXExport); have != nil {
			return fmt.Errorf("%w: %w", err, have)
		}
	}
	return err
}

// controlNames are the operations of IORING_REGISTER_ZCRX_CTRL.
var controlNames = [...]string{ctrlFlushRQ: "FLUSH_RQ", ctrlExport: "EXPORT", ctrlArmEvent: "ARM_EVENT", ctrlAddArea: "ADD_AREA"}

// explainControl does the same for an operation on a registered queue.
func explainControl(op uint32, errno unix.Errno) error {
	name := fmt.Sprint(op)
	if int(op) < len(controlNames) {
		name = controlNames[op]
	}
	err := wrapRegister("ZCRX_CTRL, "+name, errno)
	switch errno {
	case unix.EEXIST:
		return fmt.Errorf("%w: another thread owns the ring", err)
	case unix.ENXIO:
		return fmt.Errorf("%w: the ring has no such interface queue", err)
	case unix.EOPNOTSUPP:
		return fmt.Errorf("%w: the kernel does not know this operation: %w", err, ErrNotSupported)
	case unix.EINVAL:
		return explainControlInvalid(op, err)
	case unix.EMFILE, unix.ENFILE:
		return fmt.Errorf("%w: no descriptor is left (ulimit -n)", err)
	}
	return err
}

func explainControlInvalid(op uint32, err error) error {
	if have := haveControl(op); have != nil {
		return fmt.Errorf("%w: %w", err, have)
	}
	if op == ctrlArmEvent {
		return fmt.Errorf("%w: the event was not told since it was armed, or is not known", err)
	}
	return err
}

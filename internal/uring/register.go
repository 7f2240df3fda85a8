//go:build linux

package uring

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Operations of io_uring_register(2).
const (
	registerBuffers            = 0
	unregisterBuffers          = 1
	registerEventfd            = 4
	unregisterEventfd          = 5
	registerProbe              = 8
	registerEnableRings        = 12
	registerRingFDs            = 20
	unregisterRingFDs          = 21
	registerPbufRing           = 22
	unregisterPbufRing         = 23
	registerPbufStatus         = 26
	registerSendMsgRing        = 31
	ringFDAnyIndex      uint32 = 1<<32 - 1 // rsrcUpdate.offset: the kernel chooses the index
)

// rsrcUpdate is struct io_uring_rsrc_update.
type rsrcUpdate struct {
	offset uint32
	resv   uint32
	data   uint64
}

// Enable starts a ring that was made with SetupRDisabled. With SetupSingleIssuer the calling thread becomes the issuer, so
// it must be the locked thread that will submit, whichever thread made the ring.
func (r *Ring) Enable() error {
	if r.fd < 0 {
		return ErrClosed
	}
	if _, errno := sysRegister(r.fd, registerEnableRings, nil, 0); errno != 0 {
		return wrapRegister("ENABLE_RINGS", errno)
	}
	return nil
}

// RegisterEventfd has the kernel add 1 to the eventfd efd when completions are posted. With SetupDeferTaskrun a kernel may
// be late in this or not do it at all while nobody is in Enter: a thread that waits should wait in Enter, and be woken by
// a Waker.
func (r *Ring) RegisterEventfd(efd int) error {
	if r.fd < 0 {
		return ErrClosed
	}
	fd := int32(efd)
	if errno := registerStruct(r.fd, registerEventfd, &fd, 1); errno != 0 {
		return wrapRegister("EVENTFD", errno)
	}
	return nil
}

// UnregisterEventfd undoes RegisterEventfd.
func (r *Ring) UnregisterEventfd() error {
	if r.fd < 0 {
		return ErrClosed
	}
	if _, errno := sysRegister(r.fd, unregisterEventfd, nil, 0); errno != 0 {
		return wrapRegister("UNREGISTER_EVENTFD", errno)
	}
	return nil
}

// RegisterRingFD puts the ring's descriptor in the calling thread's own table, which saves Enter and Submit the
// look-up of the file. From then on only that thread may use the ring, so it must be locked (runtime.LockOSThread), and only
// it may close it.
func (r *Ring) RegisterRingFD() error {
	if r.fd < 0 {
		return ErrClosed
	}
	if r.enterFlag != 0 {
		return errors.New("uring: the ring's descriptor is registered already")
	}
	up := rsrcUpdate{offset: ringFDAnyIndex, data: uint64(r.fd)}
	if errno := registerStruct(r.fd, registerRingFDs, &up, 1); errno != 0 {
		return wrapRegister("RING_FDS", errno)
	}
	r.enterFD, r.enterFlag, r.ownerTID = int(up.offset), enterRegisteredRing, unix.Gettid()
	return nil
}

// UnregisterRingFD undoes RegisterRingFD, on the same thread. On another one it fails and changes nothing.
func (r *Ring) UnregisterRingFD() error {
	if r.enterFlag == 0 {
		return errors.New("uring: the ring's descriptor is not registered")
	}
	if tid := unix.Gettid(); tid != r.ownerTID {
		return fmt.Errorf("uring: the ring's descriptor is registered to thread %d, this is thread %d", r.ownerTID, tid)
	}
	up := rsrcUpdate{offset: uint32(r.enterFD)}
	if errno := registerStruct(r.fd, unregisterRingFDs, &up, 1); errno != 0 {
		return wrapRegister("UNREGISTER_RING_FDS", errno)
	}
	r.enterFD, r.enterFlag = r.fd, 0
	return nil
}

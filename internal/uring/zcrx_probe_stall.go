//go:build linux

package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// stallPatience is how long a receive that was stopped may take to say so, after its last data. On kernels that tell, that
// is at once; but a machine can be slow.
const stallPatience = time.Second

// errStalled is what probeNoStall finds on kernels that do not tell.
var errStalled = fmt.Errorf("uring: a receive without buffers waits for more data: %w", ErrNotSupported)

// probeNoStall has a receive, woken by three pages of data, run out of buffers after the first. Kernels before 7.3 take the
// first page for success and wait for the socket to be woken again, which does not happen.
func probeNoStall() error {
	if err := errors.Join(probeZCRX(), probeRegisterFlag(zcrxRegNodev)()); err != nil {
		// A no, but to something else: %v leaves this question open.
		return fmt.Errorf("uring: cannot be tried here: %v", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(4, Params{Flags: zcrxRing | SetupCQE32})
	if err != nil {
		return err
	}
	area, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return errors.Join(fmt.Errorf("uring: mmap: %w", err), r.Close())
	}
	// The kernel has its own hold on the area's page, so it may go while the ring goes.
	return errors.Join(tryStall(r, area), r.Close(), unix.Munmap(area))
}

func tryStall(r *Ring, area []byte) error {
	q, errno, err := r.registerIFQ(&ZCRXConfig{NoDevice: true, Area: Area{Memory: area}, RefillEntries: 1})
	if errno != 0 {
		err = wrapRegister("ZCRX_IFQ", errno)
	}
	if err != nil {
		return err
	}
	pair, err := loopbackPair()
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := r.Push(RecvZC(pair[0], q.ID(), 0, 0, 1)); err != nil {
		return err
	}
	if _, err := r.Enter(0, 0); err != nil { // it waits for the socket now
		return err
	}
	if n, err := unix.SendmsgN(pair[1], make([]byte, 3*len(area)), nil, nil, unix.MSG_DONTWAIT); err != nil || n <= len(area) {
		return fmt.Errorf("uring: sent %d bytes: %w", n, errors.Join(err, errNoAnswer))
	}
	got := 0
	for deadline := time.Now().Add(probePatience); ; {
		var c [1]CQE
		if r.Reap(c[:]) == 1 {
			if d, ok := q.Data(&c[0]); ok {
				got += d.Len
				deadline = time.Now().Add(stallPatience)
				continue
			}
			if c[0].Res == -int32(unix.ENOMEM) {
				return nil
			}
			return fmt.Errorf("uring: receive without buffers ended with result %d", c[0].Res)
		}
		left := time.Until(deadline)
		switch {
		case left > 0:
		case got == 0:
			return errors.New("uring: no data came over the loopback interface")
		default:
			return errStalled
		}
		if _, err := r.Enter(1, left); err != nil {
			return err
		}
	}
}

// loopbackPair returns two connected TCP sockets.
func loopbackPair() (pair [2]int, err error) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return pair, fmt.Errorf("uring: socket: %w", err)
	}
	defer unix.Close(ln)
	if err := errors.Join(unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(ln, 1)); err != nil {
		return pair, fmt.Errorf("uring: listen on the loopback interface: %w", err)
	}
	addr, err := unix.Getsockname(ln)
	if err != nil {
		return pair, fmt.Errorf("uring: getsockname: %w", err)
	}
	out, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return pair, fmt.Errorf("uring: socket: %w", err)
	}
	if err := unix.Connect(out, addr); err != nil {
		return pair, errors.Join(fmt.Errorf("uring: connect over the loopback interface: %w", err), unix.Close(out))
	}
	in, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
	if err != nil {
		return pair, errors.Join(fmt.Errorf("uring: accept: %w", err), unix.Close(out))
	}
	return [2]int{in, out}, nil
}

//go:build linux

package uring

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// registerRaw registers what change made of a good registration without a device, past this package's own checks. readOnly
// takes away the right to write to the structures before.
func registerRaw(t testing.TB, r *Ring, area []byte, readOnly bool, change func(*zcrxScratch)) (errno unix.Errno) {
	t.Helper()
	cfg := ZCRXConfig{NoDevice: true, Area: Area{Memory: area}, RefillEntries: 128}
	must(t, withScratch(func(s *zcrxScratch) error {
		s.fill(&cfg, RefillSize(128), refillHeader())
		change(s)
		if readOnly {
			if err := unix.Mprotect(unsafe.Slice((*byte)(unsafe.Pointer(s)), os.Getpagesize()), unix.PROT_READ); err != nil {
				return err
			}
		}
		errno = registerStruct(r.fd, registerZCRXIfq, &s.reg, 1)
		return nil
	}))
	return errno
}

// exportInto exports a queue with the argument in arg.
func exportInto(r *Ring, id uint32, arg []byte, readOnly bool) unix.Errno {
	c := (*zcrxCtrl)(unsafe.Pointer(&arg[0]))
	*c = zcrxCtrl{zcrxID: id, op: ctrlExport}
	if readOnly {
		if err := unix.Mprotect(arg, unix.PROT_READ); err != nil {
			return unix.ENOMEM
		}
		defer unix.Mprotect(arg, unix.PROT_READ|unix.PROT_WRITE)
	}
	errno := registerStruct(r.fd, registerZCRXCtrl, c, 0)
	if errno == 0 {
		unix.Close(int(*(*uint32)(unsafe.Pointer(&c.arg))))
	}
	return errno
}

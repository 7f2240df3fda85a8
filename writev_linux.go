package zctap

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// writeFile writes views to a file by writev.
func writeFile(f *os.File, views net.Buffers) (int64, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var total int64
	for len(views) > 0 {
		var n int
		var werr error
		err := raw.Write(func(fd uintptr) bool {
			for {
				n, werr = unix.Writev(int(fd), views)
				if werr != syscall.EINTR {
					return werr != syscall.EAGAIN
				}
			}
		})
		switch {
		case err == nil:
			err = werr
		case isClosed(f):
			err = os.ErrClosed
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite // and not for ever
		}
		if err != nil {
			return total, &os.PathError{Op: "writev", Path: f.Name(), Err: err}
		}
		total += int64(n)
		views = consumeViews(views, n)
	}
	return total, nil
}

// isClosed reports whether f was closed, which a RawConn tells by an error that errors.Is does not
// know. To ask for f's offset changes nothing, also where there is none.
func isClosed(f *os.File) bool {
	_, err := f.Seek(0, io.SeekCurrent)
	return errors.Is(err, os.ErrClosed)
}

// consumeViews drops the first n bytes of views.
func consumeViews(views net.Buffers, n int) net.Buffers {
	for len(views) > 0 && n >= len(views[0]) {
		n -= len(views[0])
		views = views[1:]
	}
	if n > 0 {
		views[0] = views[0][n:]
	}
	return views
}

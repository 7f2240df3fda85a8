//go:build linux

package ksock

import "golang.org/x/sys/unix"

// A Vec is a list of buffers for one receive, in order: the buffers of the
// kernel's readv(2). It is reused from call to call and belongs to one goroutine.
type Vec struct {
	hdr  unix.Msghdr
	iov  []unix.Iovec
	size int
}

// NewVec makes a list for up to n buffers.
func NewVec(n int) *Vec { return &Vec{iov: make([]unix.Iovec, 0, n)} }

// Reset empties the list.
func (v *Vec) Reset() { v.iov, v.size = v.iov[:0], 0 }

// Add appends b, which is not empty, as a buffer. The list keeps the memory
// alive until it is reset, and does not grow beyond what NewVec was told: the
// caller counts.
func (v *Vec) Add(b []byte) {
	i := len(v.iov)
	v.iov = v.iov[:i+1]
	v.iov[i].Base = &b[0]
	v.iov[i].SetLen(len(b))
	v.size += len(b)
}

// Size is the room in bytes that the buffers have together.
func (v *Vec) Size() int { return v.size }

// Recv receives stream payload into the buffers of v, without waiting, and
// returns how many bytes; 0 is the end of the stream. The errno is EAGAIN if
// there is nothing, or what ended the connection, once all payload before that
// was received. The caller keeps the socket from being closed meanwhile, and v
// has room.
func (s *Socket) Recv(v *Vec) (int, error) {
	v.hdr.Iov = &v.iov[0]
	v.hdr.SetIovlen(len(v.iov))
	for {
		n, errno := recvMsg(s.fd, &v.hdr, unix.MSG_DONTWAIT)
		switch errno {
		case 0:
			return n, nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

//go:build linux

package uring

import (
	"bytes"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestSendMsgAndRecvMsg moves one datagram by a message header on each side, gathered from two places and scattered to two.
func TestSendMsgAndRecvMsg(t *testing.T) {
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		to, addr := inet4(t, unix.SOCK_DGRAM)
		from, _ := inet4(t, unix.SOCK_DGRAM)
		must(t, unix.Connect(from, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}))

		var pin runtime.Pinner
		defer pin.Unpin()
		header := func(parts ...[]byte) uintptr {
			iov := make([]unix.Iovec, len(parts))
			for i, b := range parts {
				pin.Pin(&b[0])
				iov[i].Base = &b[0]
				iov[i].SetLen(len(b))
			}
			h := &unix.Msghdr{Iov: &iov[0]}
			h.SetIovlen(len(iov))
			pin.Pin(&iov[0])
			pin.Pin(h)
			return uintptr(unsafe.Pointer(h))
		}
		data := pattern(300)
		got := [2][]byte{make([]byte, 250), make([]byte, 250)}
		push(t, r,
			RecvMsg(to, header(got[0], got[1]), 0, 1),
			SendMsg(from, header(data[:100], data[100:]), 0, 2))
		all := collect(t, r, 2)
		if c := all[2]; len(c) != 1 || c[0].Res != 300 {
			t.Fatalf("sendmsg completed with %+v", c)
		}
		if c := all[1]; len(c) != 1 || c[0].Res != 300 {
			t.Fatalf("recvmsg completed with %+v", c)
		}
		if !bytes.Equal(append(got[0], got[1][:50]...), data) {
			t.Error("what came is not what was sent")
		}
	})
}

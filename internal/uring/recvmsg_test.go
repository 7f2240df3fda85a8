//go:build linux

package uring

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRecvMsgMultishot receives datagrams with their senders, one that is too long for a buffer and an empty one included.
func TestRecvMsgMultishot(t *testing.T) {
	needFeature(t, MultishotRecv)
	onVariants(t, 8, func(t *testing.T, r *Ring) {
		const nameLen, controlLen = unix.SizeofSockaddrInet4, 64
		const room = 1000
		p := newPool(t, r, BufRingConfig{Group: 2, Entries: 4}, recvMsgHeader+nameLen+controlLen+room)
		fd, addr := inet4(t, unix.SOCK_DGRAM)
		must(t, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
		sender, from := inet4(t, unix.SOCK_DGRAM)
		must(t, unix.Connect(sender, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}))
		must(t, r.PushRecvMsgMultishot(fd, 2, nameLen, controlLen, 0, 1))
		for i, size := range []int{1, room, 0, room + 500, 10, 20, 30} { // more than there are buffers
			data := pattern(size)
			if _, err := unix.Write(sender, data); err != nil {
				t.Fatal(err)
			}
			c := next(t, r)
			if c.UserData != 1 || c.Res < 0 {
				t.Fatalf("datagram %d: completion %+v (%v)", i, c, c.Err())
			}
			if more := size > 0; c.More() != more { // the kernel takes an empty datagram for an end of stream
				t.Errorf("datagram %d of %d bytes: more is %v", i, size, c.More())
			}
			if !c.More() {
				must(t, r.PushRecvMsgMultishot(fd, 2, nameLen, controlLen, 0, 1))
			}
			p.got = p.got[:0]
			back := p.take(c)
			out, err := ParseRecvMsg(p.got, nameLen, controlLen)
			must(t, err)
			if want := data[:min(size, room)]; !bytes.Equal(out.Payload, want) {
				t.Errorf("datagram %d: %d bytes, want %d", i, len(out.Payload), len(want))
			}
			if cut := out.Flags&unix.MSG_TRUNC != 0; cut != (size > room) {
				t.Errorf("datagram %d of %d bytes: cut is %v", i, size, cut)
			}
			if len(out.Name) != nameLen || binary.BigEndian.Uint16(out.Name[2:]) != from.Port() || !bytes.Equal(out.Name[4:8], from.Addr().AsSlice()) {
				t.Errorf("datagram %d: sender % x, want %v", i, out.Name, from)
			}
			if len(out.Control) == 0 || out.Flags&unix.MSG_CTRUNC != 0 {
				t.Errorf("datagram %d: %d bytes of control data, flags %#x", i, len(out.Control), out.Flags)
			}
			p.giveBack(back)
		}
		push(t, r, CancelFD(fd, 2))
		all := collect(t, r, 2)
		if c := all[1]; len(c) != 1 || c[0].Res != -int32(unix.ECANCELED) {
			t.Errorf("the cancelled receive completed with %+v", c)
		}
		for name, lens := range map[string][2]int{"name": {-1, 0}, "long name": {1000, 0}, "control": {0, -1}} {
			if err := r.PushRecvMsgMultishot(fd, 2, lens[0], lens[1], 0, 1); err == nil || r.Pending() != 0 {
				t.Errorf("a bad length of %s went through", name)
			}
		}
	})
}

func recvMsgBuffer(name, control, payload, flags uint32, rest int) []byte {
	b := make([]byte, recvMsgHeader, recvMsgHeader+rest)
	for i, v := range []uint32{name, control, payload, flags} {
		binary.NativeEndian.PutUint32(b[4*i:], v)
	}
	return append(b, pattern(rest)...)
}

func TestParseRecvMsg(t *testing.T) {
	const huge = 1<<32 - 1
	for _, tc := range []struct {
		name                 string
		buf                  []byte
		nameLen, controlLen  int
		gotName, gotCtl, got int // lengths; -1: refused
	}{
		{"all there", recvMsgBuffer(16, 8, 50, 0, 16+8+50), 16, 8, 16, 8, 50},
		{"short name, short control", recvMsgBuffer(4, 2, 50, 0, 16+8+50), 16, 8, 4, 2, 50},
		{"longer than the room", recvMsgBuffer(110, 99, 1500, 0, 16+8+50), 16, 8, 16, 8, 50},
		{"sizes that lie", recvMsgBuffer(huge, huge, huge, huge, 16+8+50), 16, 8, 16, 8, 50},
		{"payload shorter than the buffer", recvMsgBuffer(0, 0, 7, 0, 50), 0, 0, 0, 0, 7},
		{"nothing but the header", recvMsgBuffer(0, 0, 0, 0, 0), 0, 0, 0, 0, 0},
		{"no header", make([]byte, recvMsgHeader-1), 0, 0, 0, 0, -1},
		{"no room for the name", recvMsgBuffer(0, 0, 0, 0, 15), 16, 0, 0, 0, -1},
		{"no room for the control data", recvMsgBuffer(0, 0, 0, 0, 23), 16, 8, 0, 0, -1},
		{"negative", recvMsgBuffer(0, 0, 0, 0, 50), -1, 0, 0, 0, -1},
		{"overflowing sum", recvMsgBuffer(0, 0, 0, 0, 50), math.MaxInt, math.MaxInt, 0, 0, -1},
	} {
		out, err := ParseRecvMsg(tc.buf, tc.nameLen, tc.controlLen)
		if (err != nil) != (tc.got < 0) {
			t.Errorf("%s: error %v", tc.name, err)
			continue
		}
		if err != nil {
			continue
		}
		rest := tc.buf[recvMsgHeader:]
		if !bytes.Equal(out.Name, rest[:tc.gotName]) ||
			!bytes.Equal(out.Control, rest[tc.nameLen:][:tc.gotCtl]) ||
			!bytes.Equal(out.Payload, rest[tc.nameLen+tc.controlLen:][:tc.got]) {
			t.Errorf("%s: %d, %d and %d bytes, want %d, %d and %d", tc.name,
				len(out.Name), len(out.Control), len(out.Payload), tc.gotName, tc.gotCtl, tc.got)
		}
		for _, b := range [][]byte{out.Name, out.Control, out.Payload} {
			if len(b) != cap(b) {
				t.Errorf("%s: a view can grow into its neighbour", tc.name)
			}
		}
	}
}

func FuzzParseRecvMsg(f *testing.F) {
	f.Add(recvMsgBuffer(16, 8, 50, 0, 74), 16, 8)
	f.Add(recvMsgBuffer(1<<32-1, 1<<31, 0, 1, 3), 0, 3)
	f.Add([]byte{}, 0, 0)
	f.Fuzz(func(t *testing.T, buf []byte, nameLen, controlLen int) {
		out, err := ParseRecvMsg(buf, nameLen, controlLen)
		if err != nil {
			return
		}
		if len(out.Name) > nameLen || len(out.Control) > controlLen ||
			len(out.Payload) > len(buf)-recvMsgHeader-nameLen-controlLen {
			t.Fatalf("%d, %d and %d bytes out of %d", len(out.Name), len(out.Control), len(out.Payload), len(buf))
		}
	})
}

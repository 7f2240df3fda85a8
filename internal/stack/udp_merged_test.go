package stack

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/sockq"
)

// mergedFrame is a frame of n bytes of payload that a device put together from
// datagrams of size bytes.
func (r *rig) mergedFrame(from, to netip.AddrPort, n, size int, l layout) driver.Frame {
	f := r.frame(udpPacket(r.t, from, to, pattern(1, n)), l)
	f.GSOSize = int32(size)
	return f
}

// Datagrams that a device has put together come apart again, each with its own
// boundaries and all that is known of it, and where they lay.
func TestMergedUDP(t *testing.T) {
	for _, tt := range []struct {
		n, size int
		layout  layout
	}{
		{300, 100, whole},
		{301, 100, whole},
		{299, 100, whole},
		{100, 100, whole},
		{3, 1, whole},
		{9000, 1448, layout{28, []int{4096}}},
		{9000, 1448, layout{28, []int{1448, 7, 2000}}},
		{9000, 4096, layout{28, []int{4096}}},
		{9000, 100, layout{0, []int{1000}}},
		{9000, 8999, layout{40, []int{4096}}}, // some payload in the head
	} {
		t.Run(fmt.Sprintf("%d by %d in %v", tt.n, tt.size, tt.layout), func(t *testing.T) {
			r := newRig(t)
			r.stack.SetEpoch(1e18)
			u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPort{})
			from := netip.AddrPortFrom(peer4, 9)
			f := r.mergedFrame(from, u.Local, tt.n, tt.size, tt.layout)
			buffers := len(f.Frags)
			r.deliverFrame(f)
			if held := u.Held(); held < 1 || held > buffers+1 {
				t.Errorf("%d buffers of %d are charged", held, buffers)
			}
			want := (tt.n + tt.size - 1) / tt.size
			if u.Queue.Len() != want {
				t.Fatalf("%d datagrams, want %d", u.Queue.Len(), want)
			}
			for off := 0; off < tt.n; off += tt.size {
				m, payload, copied := r.recv(u)
				whole := pattern(1, tt.n)[off:min(off+tt.size, tt.n)]
				if m.Len != len(whole) || m.Truncated || m.Src != from || m.Dst != u.Local || m.UnixNano != 1e18+int64(r.now) {
					t.Fatalf("at %d: %+v", off, m)
				}
				if !bytes.Equal(payload, whole) {
					t.Fatalf("at %d: wrong bytes", off)
				}
				if copied > 0 && tt.layout.head < 40 {
					t.Errorf("%d bytes were copied", copied)
				}
			}
			if st := r.stack.Stats().UDP; st.Datagrams != uint64(want) || st.Merged > 1 {
				t.Errorf("%+v", st)
			}
			r.wantFree()
			r.closeSocket(u)
		})
	}
}

// Each of them is released for itself, in any order, and the buffer they share is
// free with the last.
func TestMergedUDPRelease(t *testing.T) {
	r := newRig(t)
	u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPort{})
	free := r.pool.Free()
	r.deliverFrame(r.mergedFrame(netip.AddrPortFrom(peer4, 9), u.Local, 1000, 100, whole))
	iovs, msgs := make([]buf.Iov, 10), make([]sockq.Message, 10)
	if n, k, _, err := u.Queue.Poll(iovs, msgs); n != 10 || k != 10 || err != nil {
		t.Fatalf("%d datagrams, %d iovs, %v", n, k, err)
	}
	for i := range iovs {
		if got := r.pool.Free(); got != free-1 {
			t.Fatalf("%d buffers free with %d of 10 out, want %d", got, 10-i, free-1)
		}
		if _, err := r.pool.Return(iovs[(i+5)%10 : (i+5)%10+1]); err != nil {
			t.Fatal(err)
		}
	}
	if r.pool.Free() != free || u.Held() != 0 {
		t.Errorf("%d buffers free of %d, %d held", r.pool.Free(), free, u.Held())
	}
	r.closeSocket(u)
}

// A socket that is full drops all of them, and counts each.
func TestMergedUDPBounds(t *testing.T) {
	r := newRig(t, func(c *Config, _ *driver.Caps) { c.MaxHeld = 2 })
	u := mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPort{})
	for range 3 {
		r.deliverFrame(r.mergedFrame(netip.AddrPortFrom(peer4, 9), u.Local, 1000, 100, whole))
	}
	r.wantDrops(map[string]uint64{"socket-full": 10})
	r.closeSocket(u)
	r.wantFree()

	// As many as there may be, however few bytes they are.
	r = newRig(t)
	u = mustListen(t, r.stack, "udp", netip.AddrPortFrom(us4.Addr(), 53), netip.AddrPort{})
	const n = 60000
	r.deliverFrame(r.mergedFrame(netip.AddrPortFrom(peer4, 9), u.Local, n, 1, layout{28, []int{4096}}))
	r.wantDrops(map[string]uint64{"socket-full": n})
	r.closeSocket(u)
	r.wantFree()
}

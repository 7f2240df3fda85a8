//go:build linux

package xdp

import (
	"net/netip"
	"testing"

	bpf "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
)

// What a sender leaves to a device to cut up, the kernel cuts for an XDP program in
// veth's driver, and not for one in generic mode: that frame is received whole, and
// says that it is several.
func TestNSSuperSegments(t *testing.T) {
	const size, many = 1000, 10
	for _, tt := range []struct {
		name   string
		attach bpf.XDPAttachFlags
		frames int
		super  bool
	}{
		{"native", bpf.XDPDriverMode, many, false},
		{"generic", bpf.XDPGenericMode, 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, worldOptions{only4: true, attach: tt.attach})
			d := w.open(w.config(256))
			conn := w.dialUDP(netip.AddrPortFrom(ours4, 7))
			raw, err := conn.SyscallConn()
			if err == nil {
				err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size) })
			}
			if err != nil {
				t.Fatal(err)
			}
			write(t, conn, noise(1, size*many), 1)
			frames, bytes := 0, 0
			receive(t, d, driver.NewBatch(64, 64), func(p *packet) bool {
				frames++
				bytes += p.udp.PayloadLen
				if super := p.frame.GSOSize == driver.GSOUnknown; super != tt.super {
					t.Errorf("%d bytes, segments of %d", p.udp.PayloadLen, p.frame.GSOSize)
				}
				if p.frame.Checksum != driver.Vouched {
					t.Errorf("checksum %d", p.frame.Checksum)
				}
				return bytes >= size*many
			})
			if frames != tt.frames || bytes != size*many {
				t.Errorf("%d frames of %d bytes; want %d of %d", frames, bytes, tt.frames, size*many)
			}
		})
	}
}

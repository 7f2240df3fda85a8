//go:build linux

package xdp

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/buf/buftest"
)

func TestDefaults(t *testing.T) {
	small, large := newPool(t, 1024, true), newPool(t, 16384, true)
	for _, tt := range []struct {
		name     string
		c        Config
		queues   int
		want     []int
		fill, rx int
		tx       int
	}{
		{"small", Config{Pool: small}, 1, []int{0}, (1024 - 128 - 64) / 2, 512, 128},
		{"small, all queues", Config{Pool: small}, 4, []int{0, 1, 2, 3}, (1024 - 128 - 64) / 5, 256, 128},
		{"small, one of four queues", Config{Pool: small, Queues: []int{2}}, 4, []int{2}, 416, 512, 128},
		{"large", Config{Pool: large}, 1, []int{0}, 4096, 4096, 256},
		{"set", Config{Pool: large, Rings: Rings{Fill: 100, RX: 32}, TxBuffers: 500}, 2, []int{0, 1}, 100, 32, 500},
	} {
		c, err := tt.c.withDefaults(tt.queues)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if !slices.Equal(c.Queues, tt.want) || c.Rings != (Rings{tt.fill, tt.rx}) || c.TxBuffers != tt.tx {
			t.Errorf("%s: queues %v, rings %+v, %d buffers to send from", tt.name, c.Queues, c.Rings, c.TxBuffers)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	p := newPool(t, 1024, true)
	for _, tt := range []struct {
		name string
		c    Config
		says string
	}{
		{"no pool", Config{}, "no pool"},
		{"heap", Config{Pool: newPool(t, 1024, false)}, "heap"},
		{"large buffers", Config{Pool: buftest.Pool(t, buf.RegionConfig{Buffers: 256, BufferSize: 8192})}, "8192 bytes; AF_XDP takes"},
		{"queue that is not there", Config{Pool: p, Queues: []int{0, 2}}, "queue 2: the interface has 2"},
		{"negative queue", Config{Pool: p, Queues: []int{-1}}, "queue -1"},
		{"queue twice", Config{Pool: p, Queues: []int{1, 1}}, "twice"},
		{"mode", Config{Pool: p, Mode: 3}, "mode"},
		{"busy polling", Config{Pool: p, BusyPoll: time.Hour}, "busy polling"},
		{"negative busy polling", Config{Pool: p, BusyPoll: -1}, "busy polling"},
		{"headroom", Config{Pool: p, Headroom: 2049}, "headroom"},
		{"negative headroom", Config{Pool: p, Headroom: -1}, "headroom"},
		{"fill ring too small", Config{Pool: p, Rings: Rings{Fill: 31}}, "fill ring of 31"},
		{"fill ring too large", Config{Pool: p, Rings: Rings{Fill: 1<<16 + 1}}, "fill ring"},
		{"RX ring", Config{Pool: p, Rings: Rings{RX: 48}}, "RX ring of 48"},
		{"RX ring too small", Config{Pool: p, Rings: Rings{RX: 16}}, "RX ring of 16"},
		{"RX ring too large", Config{Pool: p, Rings: Rings{RX: 1 << 17}}, "RX ring"},
		{"negative RX ring", Config{Pool: p, Rings: Rings{RX: math.MinInt}}, "RX ring"},
		{"TX buffers", Config{Pool: p, TxBuffers: 17}, "17 buffers to send from"},
		{"negative TX buffers", Config{Pool: p, TxBuffers: -5}, "to send from"},
		{"region too small", Config{Pool: p, Rings: Rings{Fill: 500}}, "2 queues with fill rings of 500"},
		{"region very small", Config{Pool: newPool(t, 64, true)}, "to send from"},
		{"region small", Config{Pool: newPool(t, 64, true), TxBuffers: 18}, "fill ring"},
	} {
		if _, err := tt.c.withDefaults(2); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want EINVAL that says %q", tt.name, err, tt.says)
		}
	}
}

func TestModes(t *testing.T) {
	for m, want := range map[Mode]string{Auto: "auto", ZeroCopy: "zero-copy", Copy: "copy", 9: "Mode(9)"} {
		if got := m.String(); got != want {
			t.Errorf("mode %d is %q, want %q", uint8(m), got, want)
		}
	}
}

// What a window is made of: how much of a frame a buffer takes, and what the kernel
// has to receive into.
func TestCapsOfBuffers(t *testing.T) {
	for _, headroom := range []int{0, 256} {
		c := fakeConfig(newPool(t, 512, false), 64, 18)
		c.Headroom = headroom
		d, _ := fake(t, c, 2)
		if got := d.Caps(); got.RxRoom != 4096-256-headroom || got.RxPosted != 2*64 {
			t.Errorf("headroom %d: %d bytes in a buffer, %d posted", headroom, got.RxRoom, got.RxPosted)
		}
	}
}

//go:build linux

package xdp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/mono"
	"github.com/zctap/zctap/internal/wire"
)

// TestStalled: a NIC in zero-copy mode that completes nothing any more ends the
// driver, with what to do; one that is slow, is down or has nothing to do does not.
func TestStalled(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mode  Mode
		every time.Duration // between Sends
		sends int
		does  func(d *Driver, k *kernel, i int) // after each
		stops int                               // the number of the Send that fails; 0: none
	}{
		{"stalled", ZeroCopy, time.Second, 20, nil, 12}, // found in the second, then 10 s
		{"seldom used", ZeroCopy, time.Minute, 10, nil, 5},
		{"often used", ZeroCopy, time.Second / 4, 60, nil, 42},
		{"copy mode", Copy, time.Second, 30, nil, 0},
		{"slow", ZeroCopy, time.Second, 30, func(_ *Driver, k *kernel, i int) {
			if i%9 == 8 {
				k.transmit(1)
			}
		}, 0},
		{"completes with the next", ZeroCopy, time.Minute, 20, func(_ *Driver, k *kernel, i int) {
			if i > 0 {
				k.transmit(1)
			}
		}, 0},
		{"down now and then", ZeroCopy, time.Second, 30, func(d *Driver, _ *kernel, i int) { d.link.up = i%9 != 8 }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, ks := fake(t, fakeConfig(newPool(t, 256, false), 64, 64), 1)
			d.mode = tt.mode
			f := packetTo(t, dst4, wire.ProtoUDP, noise(1, 100))
			now := mono.Time(0).Add(time.Hour)
			for i := range tt.sends {
				n, err := d.Send(now, []driver.TxFrame{f})
				if tt.stops == i+1 {
					if n != 0 || !errors.Is(err, unix.ETIMEDOUT) || !strings.Contains(err.Error(), "close and open again") {
						t.Errorf("Send %d = %d, %v", i+1, n, err)
					}
					if got := d.TxCounters().Stalled; got != uint64(i) {
						t.Errorf("%d frames count as lost, want %d", got, i)
					}
					if _, again := d.Send(now, nil); again != err {
						t.Errorf("the next Send: %v", again)
					}
					return
				}
				if err != nil {
					t.Fatalf("Send %d: %v", i+1, err)
				}
				if tt.does != nil {
					tt.does(d, ks[0], i)
				}
				now = now.Add(tt.every)
			}
			if tt.stops != 0 {
				t.Error("it goes on")
			}
		})
	}
}

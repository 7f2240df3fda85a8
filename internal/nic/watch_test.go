//go:build linux

package nic

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNSWatchChannels: each change is told, by whatever way it was made, and none
// after Close.
func TestNSWatchChannels(t *testing.T) {
	ns := newVeth(t, 3)
	in(t, ns, func(t *testing.T) {
		v0, err := openKernelDevice("v0", 0)
		must(t, err)
		defer v0.close()
		v1, err := openKernelDevice("v1", 0)
		must(t, err)
		defer v1.close()
		told := make(chan Channels, 100)
		w, err := WatchChannels(v0.index, func(c Channels) { told <- c })
		must(t, err)
		for _, n := range []uint32{2, 3, 1} {
			now, err := v0.channels()
			must(t, err)
			now.RX, now.TX = n, n
			must(t, v1.setChannels(now)) // somebody else's: told of as well, and nothing new
			must(t, v0.setChannels(now))
			for limit := time.After(30 * time.Second); ; {
				select {
				case c := <-told:
					if c.RXQueues() != int(n) {
						continue
					}
				case <-limit:
					t.Fatalf("%d queues: not told", n)
				}
				break
			}
		}
		must(t, w.Close())
		must(t, w.Close())
		for len(told) > 0 {
			<-told
		}
		now, err := v0.channels()
		must(t, err)
		now.RX = 2
		must(t, v0.setChannels(now))
		if len(told) != 0 {
			t.Error("told after Close")
		}
		if _, err := WatchChannels(4711, func(Channels) {}); !errors.Is(err, unix.ENODEV) {
			t.Errorf("no such interface: %v", err)
		}
	})
}

package zctap

import (
	"fmt"
	"syscall"
	"testing"
)

// TestMissing: only of an interface that is there already it is a mistake that there is none.
// A kernel without TUN devices says ENODEV, too, and is an obstacle.
func TestMissing(t *testing.T) {
	gone := fmt.Errorf("open it: %w", syscall.ENODEV)
	for _, k := range []struct {
		c      Config
		engine string
		err    error
		want   bool
	}{
		{Config{Interface: "eth9"}, User, gone, true},
		{Config{Interface: "eth9"}, User, syscall.EPERM, false},
		{Config{Interface: "eth9"}, ZCRX, gone, false}, // engine user says more about it
		{Config{}, User, gone, false},
		{Config{Interface: "tun9", TUN: &TUN{Name: "tun9"}}, User, gone, false},
	} {
		if got := k.c.missing(k.engine, k.err); got != k.want {
			t.Errorf("%+v, engine %s, %v: %v, want %v", k.c, k.engine, k.err, got, k.want)
		}
	}
}

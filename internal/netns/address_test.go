//go:build linux

package netns

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNSWaitAddresses(t *testing.T) {
	a, b := newNS(t), newNS(t)
	addr := []netip.Prefix{netip.MustParsePrefix("fd77::1/64"), netip.MustParsePrefix("10.77.0.1/24")}
	if err := Veth(a, b, VethOptions{AddrA: addr}); err != nil {
		t.Fatal(err)
	}
	if err := a.Do(func() error { return WaitAddresses(addr, 30*time.Second) }); err != nil {
		t.Errorf("addresses of the namespace: %v", err)
	}
	err := b.Do(func() error { return WaitAddresses(addr, 10*time.Millisecond) })
	if !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("addresses of the other namespace: %v", err)
	}
}

//go:build linux

package netns

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestNSSetQueue(t *testing.T) {
	a, b := newNS(t), newNS(t)
	if err := Veth(a, b, VethOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there
		if err := a.SetQueue("veth0"); err != nil {
			t.Fatal(err)
		}
	}
	var kinds []string
	err := a.Do(func() error {
		l, err := netlink.LinkByName("veth0")
		if err != nil {
			return err
		}
		list, err := netlink.QdiscList(l)
		for _, q := range list {
			kinds = append(kinds, q.Type())
		}
		return err
	})
	if err != nil || len(kinds) != 1 || kinds[0] != "pfifo" {
		t.Errorf("queues %v, %v; want pfifo", kinds, err)
	}
	var missing netlink.LinkNotFoundError
	if err := a.SetQueue("no-such"); !errors.As(err, &missing) {
		t.Errorf("of a link that is not there: %v", err)
	}
}

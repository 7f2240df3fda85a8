//go:build linux

package netns

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNSOffload(t *testing.T) {
	a, b := newNS(t), newNS(t)
	if err := Veth(a, b, VethOptions{}); err != nil {
		t.Fatal(err)
	}
	for o := range Offload(len(offloads)) {
		t.Run(o.String(), func(t *testing.T) {
			for _, on := range []bool{false, true, false, true} {
				if err := a.SetOffload("veth0", o, on); err != nil {
					t.Fatal(err)
				}
				if got, err := a.Offload("veth0", o); err != nil || got != on {
					t.Errorf("set to %v, then read as %v, error %v", on, got, err)
				}
			}
		})
	}
}

func TestNSVethOffloadsOff(t *testing.T) {
	a, b := newNS(t), newNS(t)
	if err := Veth(a, b, VethOptions{Off: []Offload{TxChecksum}}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*NS{a, b} {
		for o, want := range map[Offload]bool{TxChecksum: false, TSO: false, GSO: true} {
			if got, err := n.Offload("veth0", o); err != nil || got != want {
				t.Errorf("%v is %v, error %v; want %v", o, got, err, want)
			}
		}
	}
}

func TestNSOffloadErrors(t *testing.T) {
	a, b := newNS(t), newNS(t)
	if err := Veth(a, b, VethOptions{Off: []Offload{TxChecksum}}); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, link string
		o          Offload
		on         bool
		want       error
	}{
		{"no such link", "none", TSO, false, unix.ENODEV},
		{"name too long", "a-name-of-16-byt", TSO, false, unix.ENAMETOOLONG},
		{"fixed", "lo", TxChecksum, false, unix.EOPNOTSUPP},
		{"TSO needs checksums", "veth0", TSO, true, unix.EOPNOTSUPP},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := a.SetOffload(c.link, c.o, c.on); !errors.Is(err, c.want) {
				t.Errorf("SetOffload = %v, want %v", err, c.want)
			}
		})
	}
	if _, err := a.Offload("none", TSO); !errors.Is(err, unix.ENODEV) {
		t.Errorf("Offload of no link = %v, want ENODEV", err)
	}
}

func TestOffloadString(t *testing.T) {
	for o, want := range map[Offload]string{TxChecksum: "tx-checksumming", GRO: "generic-receive-offload", -1: "Offload(-1)", 99: "Offload(99)"} {
		if got := o.String(); got != want {
			t.Errorf("Offload %d is %q, want %q", int(o), got, want)
		}
	}
}

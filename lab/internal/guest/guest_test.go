//go:build linux

package guest

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// TestMainOnAHost: nothing happens.
func TestMainOnAHost(t *testing.T) {
	t.Setenv(Marker, "init")
	Main()
	t.Setenv(Marker, agentRole)
	Main()
	name := os.Args[0]
	defer func() { os.Args[0] = name }()
	os.Args[0] = EventCommand
	Main()
	if Inside() {
		t.Error("this is not the guest of a lab")
	}
	if _, err := Signal(t.Context(), "x", nil); err == nil || !strings.Contains(err.Error(), "is this the guest of a lab?") {
		t.Errorf("an event on a host: %v", err)
	}
}

func TestStepOfCgroup(t *testing.T) {
	for text, want := range map[string]uint16{
		"0::/lab/7\n":                  7,
		"0::/lab/65535/own/a\n":        65535,
		"1:name=x:/lab/8\n0::/lab/9\n": 9,
		"0::/\n":                       0,
		"0::/lab\n":                    0,
		"0::/lab/65536":                0,
		"0::/lab/x\n":                  0,
		"0::/other/7\n":                0,
		"":                             0,
		"0::/lab/-1\n":                 0,
		"0::/labor/7\n0":               0,
	} {
		if got := stepOfCgroup(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestWithEnv(t *testing.T) {
	got := withEnv([]string{"A=1", "B=2"}, []string{"B=3", "C", "A=", "C=4"})
	if want := []string{"A=", "B=3", "C=4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSelectLink(t *testing.T) {
	link := func(name string, index int, flags net.Flags, mac string) netlink.Link {
		hw, _ := net.ParseMAC(mac)
		return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index, Flags: flags, HardwareAddr: hw}}
	}
	links := []netlink.Link{
		link("eth1", 5, 0, "02:00:00:00:00:05"), link("lo", 1, net.FlagLoopback, ""), link("eth0", 3, 0, "02:00:00:00:00:03"),
		&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "dummy0", Index: 2}},
	}
	cases := []struct {
		in   Interface
		want string
	}{
		{Interface{}, "eth0"},
		{Interface{Index: 1}, "eth1"},
		{Interface{Index: 2}, ""},
		{Interface{MAC: "02:00:00:00:00:05", Index: 7}, "eth1"},
		{Interface{MAC: "02:00:00:00:00:06"}, ""},
	}
	for _, c := range cases {
		got := ""
		if l := selectLink(slices.Clone(links), &c.in); l != nil {
			got = l.Attrs().Name
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.in, got, c.want)
		}
	}
}

// TestJobInJSON: a job comes to the guest as it was, bytes that are no text and addresses included.
func TestJobInJSON(t *testing.T) {
	j := Job{
		ID: 1, First: 2, Namespaces: []string{"a"},
		Interfaces: []Interface{{Addresses: []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}, Routes: []Route{{To: netip.MustParsePrefix("10.0.0.0/8")}}}},
		Steps:      []Step{{Args: [][]byte{[]byte("\xff\xfe")}, Timeout: time.Second}},
	}
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	var got Job
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if string(got.Steps[0].Args[0]) != "\xff\xfe" || got.Steps[0].Timeout != time.Second ||
		got.Interfaces[0].Addresses[0] != j.Interfaces[0].Addresses[0] || got.Interfaces[0].Routes[0] != j.Interfaces[0].Routes[0] {
		t.Errorf("%+v became %+v", j, got)
	}
}

func TestStdin(t *testing.T) {
	s := newStdin()
	s.put([]byte("ab"))
	s.put(make([]byte, StdinWindow)) // more than there is room for
	s.put([]byte("c"))
	if p, last := s.take(); string(p) != "abc" || last {
		t.Errorf("took %q, %v", p, last)
	}
	s.end()
	s.put([]byte("late"))
	if p, last := s.take(); len(p) != 0 || !last {
		t.Errorf("after the end: %q, %v", p, last)
	}
}

func TestAwait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	if err := await(ctx, func() error {
		if calls++; calls < 3 {
			return os.ErrNotExist
		}
		return nil
	}); err != nil || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
	cancel()
	if err := await(ctx, func() error { return os.ErrNotExist }); err == nil {
		t.Error("it succeeded")
	}
}

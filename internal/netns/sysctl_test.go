//go:build linux

package netns

import (
	"errors"
	"io/fs"
	"testing"
)

func TestNSSysctl(t *testing.T) {
	a, b := newNS(t), newNS(t)
	const name = "net/ipv4/tcp_rmem"
	before, err := b.Sysctl(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.SetSysctl(name, "4096 50000 60000"); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Sysctl(name); err != nil || got != "4096\t50000\t60000" {
		t.Errorf("%s = %q, error %v", name, got, err)
	}
	if after, err := b.Sysctl(name); err != nil || after != before {
		t.Errorf("in the other namespace %s went from %q to %q, error %v", name, before, after, err)
	}
	if err := a.SetSysctl("net/ipv4/no_such", "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("setting what does not exist: %v, want fs.ErrNotExist", err)
	}
}

func TestSysctlPath(t *testing.T) {
	for name, ok := range map[string]bool{
		"net/ipv4/tcp_sack":                   true,
		"net/ipv6/conf/eth0.1/mtu":            true,
		"kernel/hostname":                     false,
		"net/../kernel/hostname":              false,
		"net/ipv4/../../vm/overcommit_memory": false,
		"/net/ipv4/tcp_sack":                  false,
		"net":                                 false,
		"net/":                                false,
		"":                                    false,
	} {
		if path, err := sysctlPath(name); (err == nil) != ok {
			t.Errorf("sysctlPath(%q) = %q, %v", name, path, err)
		}
	}
}

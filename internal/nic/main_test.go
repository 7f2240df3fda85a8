//go:build linux

package nic

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/zctap/zctap/internal/testenv"
)

// helperEnv names what this program does when a test starts it again as a
// process of its own: a key of helpers.
const helperEnv = "ZCTAP_NIC_HELPER"

var helpers = map[string]func() error{
	"half":   helperHalf,
	"nobody": helperNobody,
	"lab":    helperLab,
}

func TestMain(m *testing.M) {
	name := os.Getenv(helperEnv)
	if name == "" {
		testenv.Main(m)
	}
	if err := helpers[name](); err != nil {
		fmt.Fprintln(os.Stderr, "helper", name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tcpPort is a flow to a port over both IP versions.
func tcpPort(port uint16) Flow { return Flow{TCP, netip.AddrPortFrom(netip.Addr{}, port)} }

func flowTo(p Proto, to string) Flow { return Flow{p, netip.MustParseAddrPort(to)} }

// apply plans and applies, and undoes that at the test's end if the test has not.
func apply(t testing.TB, w Want) *Applied {
	t.Helper()
	p, err := NewPlan("eth7", w)
	must(t, err)
	a, err := p.Apply()
	must(t, err)
	t.Cleanup(func() {
		if _, err := a.Undo(); err != nil {
			t.Errorf("Undo at the end: %v", err)
		}
	})
	return a
}

func undo(t testing.TB, a *Applied) Report {
	t.Helper()
	r, err := a.Undo()
	must(t, err)
	return r
}

// kill lets go of a plan as the end of its process does: nothing is undone.
func kill(t testing.TB, a *Applied) {
	t.Helper()
	must(t, a.j.out.release())
	must(t, a.dev.close())
	a.dev = nil
}

func restore(t testing.TB, o RestoreOptions) []Report {
	t.Helper()
	reports, err := Restore(o)
	must(t, err)
	return reports
}

// journalsIn lists the journals that a directory has.
func journalsIn(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if len(e.Name()) < 5 || e.Name()[len(e.Name())-5:] != ".lock" {
			names = append(names, dir+"/"+e.Name())
		}
	}
	return names
}

// outcomes are those of a report by setting.
func outcomes(r Report) map[string]Outcome {
	m := make(map[string]Outcome)
	for _, one := range r.Results {
		m[one.Setting] = one.Outcome
	}
	return m
}

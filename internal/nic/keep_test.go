//go:build linux

package nic

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// withOffloads is a NIC that has all that generic XDP turns off.
func withOffloads() *model {
	m := gve(2)
	on := Feature{Active: true, Wanted: true, Changeable: true}
	m.state.Features[FeatureHWGRO], m.state.Features[FeatureLRO] = on, on
	return m
}

// attachGeneric does what generic_xdp_install does.
func (m *model) attachGeneric() {
	m.change(func(s *nicState) {
		for _, name := range GenericXDP {
			if f := s.Features[name]; f.Changeable {
				s.Features[name] = Feature{Changeable: true}
			}
		}
	})
}

func kept(t *testing.T, dir string) *Kept {
	t.Helper()
	k, err := Keep(7, GenericXDP, dir)
	must(t, err)
	return k
}

func TestKeep(t *testing.T) {
	for _, tt := range []struct {
		name     string
		features map[string]Feature
		journals int
	}{
		{"both", map[string]Feature{}, 1},
		{"one is fixed", map[string]Feature{FeatureLRO: {Active: true, Wanted: true}}, 1},
		{"one is off", map[string]Feature{FeatureHWGRO: {Changeable: true}}, 1},
		{"wanted, and not possible at the moment", map[string]Feature{FeatureHWGRO: {Wanted: true, Changeable: true}, FeatureLRO: {}}, 1},
		{"none", map[string]Feature{FeatureHWGRO: {Changeable: true}, FeatureLRO: {}}, 0},
	} {
		for _, mode := range []string{"generic", "native"} {
			t.Run(tt.name+", "+mode, func(t *testing.T) {
				m := withOffloads()
				for name, f := range tt.features {
					m.state.Features[name] = f
				}
				dir := m.install(t)
				was := m.snapshot()
				k := kept(t, dir)
				if n := len(journalsIn(t, dir)); n != tt.journals || k.Volatile() != nil {
					t.Errorf("%d journals, volatile: %v", n, k.Volatile())
				}
				m.unchanged(t, was)
				if mode == "generic" {
					m.attachGeneric()
				}
				must(t, k.Undo())
				now := m.snapshot()
				for name, f := range was.Features {
					if now.Features[name].Wanted != f.Wanted {
						t.Errorf("%s: %+v, was %+v", name, now.Features[name], f)
					}
				}
				must(t, k.Undo())
				if left := journalsIn(t, dir); len(left) != 0 {
					t.Errorf("%v is left", left)
				}
			})
		}
	}
}

// TestKeepKilled: what a killed process left is put back by Restore, by the next
// Keep, and by the next Prepare.
func TestKeepKilled(t *testing.T) {
	for _, tt := range []struct {
		name string
		next func(t *testing.T, dir string)
	}{
		{"restore", func(t *testing.T, dir string) {
			reports := restore(t, RestoreOptions{JournalDir: dir})
			if len(reports) != 1 {
				t.Fatalf("%d reports", len(reports))
			}
			for _, name := range GenericXDP {
				if o := outcomes(reports[0])[keyFeature(name)]; o != Restored {
					t.Errorf("%s: %s", name, o)
				}
			}
		}},
		{"keep", func(t *testing.T, dir string) { must(t, kept(t, dir).Undo()) }},
		{"prepare", func(t *testing.T, dir string) {
			a, err := Prepare("eth7", Want{Queue: 1, JournalDir: dir})
			must(t, err)
			undo(t, a)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := withOffloads()
			dir := m.install(t)
			was := m.snapshot()
			k := kept(t, dir)
			m.attachGeneric()
			kill(t, k.a)
			tt.next(t, dir)
			m.unchanged(t, was)
			if left := journalsIn(t, dir); len(left) != 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// TestKeepKilledAnywhere kills the process at each of its operations in turn.
func TestKeepKilledAnywhere(t *testing.T) {
	for n := 0; ; n++ {
		m := withOffloads()
		dir := m.install(t)
		was := m.snapshot()
		st, err := openDir(dir)
		must(t, err)
		k := &killer{at: n}
		k.attach(m, st)
		a, err := keep(&handle{model: m}, st, GenericXDP)
		if err == nil {
			if !k.dead {
				m.attachGeneric()
			}
			_, err = a.Undo()
			if err != nil {
				err = errors.Join(err, a.j.out.release()) // as its end does
			}
		}
		k.detach(m)
		restore(t, RestoreOptions{JournalDir: dir})
		m.unchanged(t, was)
		if left := journalsIn(t, dir); len(left) != 0 || t.Failed() {
			t.Fatalf("killed at %d, %v is left: %v", n, left, err)
		}
		if !k.dead {
			if err != nil || n < 10 {
				t.Errorf("survived %d operations: %v", n, err)
			}
			return
		}
	}
}

// TestKeepErrors: without an interface or a place for the journal nothing is done.
func TestKeepErrors(t *testing.T) {
	m := withOffloads()
	dir := m.install(t)
	if _, err := Keep(8, GenericXDP, dir); !errors.Is(err, unix.ENODEV) {
		t.Errorf("no such interface: %v", err)
	}
	if _, err := Keep(7, GenericXDP, "/proc/nowhere"); err == nil {
		t.Error("a journal in /proc")
	}
	for errno, ok := range map[unix.Errno]bool{unix.EOPNOTSUPP: true, unix.EIO: false} {
		m.fault = func(call string) error {
			if call == "features" {
				return errno
			}
			return nil
		}
		if k, err := Keep(7, GenericXDP, dir); ok != (err == nil) || !ok && !errors.Is(err, errno) || ok && k.Pending() {
			t.Errorf("features that read %v: %v", errno, err)
		}
	}
	m.fault = nil
	if left := journalsIn(t, dir); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

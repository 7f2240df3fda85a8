//go:build linux

package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

var errKilled = errors.New("killed")

// killer ends a process at its nth operation: nothing that it does from then on
// has an effect.
type killer struct {
	at, count int
	dead      bool
}

func (k *killer) step(string) error {
	if k.count++; k.count > k.at {
		k.dead = true
	}
	if k.dead {
		return errKilled
	}
	return nil
}

// attach lets the killer see each call on the NIC, before it and after it, and
// each on the disk.
func (k *killer) attach(m *model, st store) {
	m.fault, m.after = k.step, k.step
	if d, ok := st.(*dirStore); ok {
		d.fault = k.step
	}
}

func (k *killer) detach(m *model) { m.fault, m.after = nil, nil }

// whole is the life of a plan: it is applied, flows come and go, it is undone.
func whole(m *model, st store, w Want) error {
	p, err := planOn(&handle{model: m}, st, w)
	if err != nil {
		return err
	}
	a, err := p.Apply()
	if err != nil {
		return err
	}
	err = errors.Join(
		a.AddFlow(flowTo(TCP, "10.0.0.1:1234")),
		a.AddFlow(tcpPort(2345)),
		a.RemoveFlow(flowTo(TCP, "10.0.0.1:1234")),
		a.Verify(),
	)
	if _, e := a.Undo(); e != nil {
		err = errors.Join(err, e, a.j.out.release()) // as its end does
	}
	return err
}

// lives are the cases that processes are killed in.
var lives = []struct {
	name string
	nic  func() *model
	want Want
}{
	{"gve", func() *model {
		m := gve(2)
		m.state.Rings.HDSThresh = number32(100)
		return m
	}, Want{Queue: 1, Flows: []Flow{tcpPort(9000)}}},
	{"one channel", func() *model { return gve(1) }, Want{Queue: AnyQueue, Flows: []Flow{tcpPort(9000)}}},
	{"a context, and the driver places rules", func() *model {
		m := gve(4)
		m.noContexts, m.driverPlaces = false, true
		m.state.Driver = "mlx5_core"
		m.state.Features[FeatureHWGRO] = Feature{Changeable: true}
		m.state.Features[FeatureRules] = Feature{Active: true, Wanted: true, Changeable: true}
		m.state.Contexts[1] = spread(128, 2)
		m.state.Rules[102] = Rule{Location: 102, Exact: true, Match: Match{Proto: TCP, Port: 22}}
		return m
	}, Want{Queue: 2, RSSContext: true, Flows: []Flow{tcpPort(9000)}}},
}

// TestKilledAnywhere kills the process at each of its operations in turn, and
// then restores.
func TestKilledAnywhere(t *testing.T) {
	for _, tt := range lives {
		t.Run(tt.name, func(t *testing.T) {
			for n := 0; ; n++ {
				m := tt.nic()
				dir := m.install(t)
				was := m.snapshot()
				st, err := openDir(dir)
				must(t, err)
				k := &killer{at: n}
				k.attach(m, st)
				err = whole(m, st, tt.want)
				k.detach(m)
				if k.dead && err == nil && len(journalsIn(t, dir)) > 0 {
					t.Fatalf("killed at %d and nothing noticed", n)
				}
				restore(t, RestoreOptions{JournalDir: dir})
				m.unchanged(t, was)
				if left := journalsIn(t, dir); len(left) != 0 {
					t.Errorf("killed at %d: %v is left", n, left)
				}
				if again := restore(t, RestoreOptions{JournalDir: dir}); len(again) != 0 {
					t.Errorf("killed at %d: restored twice: %v", n, again)
				}
				if t.Failed() {
					t.Fatalf("killed at %d, after %v: %v", n, m.calls, err)
				}
				if !k.dead {
					if err != nil || n < 50 {
						t.Errorf("survived %d operations: %v", n, err)
					}
					t.Logf("killed at each of %d operations", n)
					return
				}
			}
		})
	}
}

// TestRestoreKilledAnywhere kills Restore at each of its operations, too.
func TestRestoreKilledAnywhere(t *testing.T) {
	for _, tt := range lives {
		t.Run(tt.name, func(t *testing.T) {
			for n := 0; ; n++ {
				m := tt.nic()
				dir := m.install(t)
				was := m.snapshot()
				tt.want.JournalDir = dir
				p, err := NewPlan("eth7", tt.want)
				must(t, err)
				a, err := p.Apply()
				must(t, err)
				kill(t, a)

				st, err := openDir(dir)
				must(t, err)
				k := &killer{at: n}
				k.attach(m, st)
				_, err = restoreIn(st, RestoreOptions{})
				k.detach(m)
				if k.dead != (err != nil) {
					t.Fatalf("killed at %d: %v, error %v", n, k.dead, err)
				}
				restore(t, RestoreOptions{JournalDir: dir})
				m.unchanged(t, was)
				if left := journalsIn(t, dir); len(left) != 0 || t.Failed() {
					t.Fatalf("killed at %d: %v is left", n, left)
				}
				if !k.dead {
					return
				}
			}
		})
	}
}

// TestKilledThenNext: the next process that prepares the same queue, for the same
// port, puts things right first, and what it undoes at its end is the first
// one's doing, too.
func TestKilledThenNext(t *testing.T) {
	for _, tt := range lives {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.nic()
			tt.want.JournalDir = m.install(t)
			was := m.snapshot()
			first := apply(t, tt.want)
			must(t, first.AddFlow(tcpPort(4000)))
			kill(t, first)

			dry := tt.want
			dry.DryRun = true
			p, err := NewPlan("eth7", dry)
			must(t, err)
			if len(p.Pending) != 1 || p.Pending[0].Changes == 0 || p.Pending[0].Queue != first.Queue() {
				t.Errorf("pending: %+v", p.Pending)
			}
			must(t, p.Close())

			next := apply(t, tt.want)
			if n := len(next.Reverted().Results); n != p.Pending[0].Changes {
				t.Errorf("%d changes reverted of %d", n, p.Pending[0].Changes)
			}
			if f := next.Flows(); len(f) != 2 || len(journalsIn(t, tt.want.JournalDir)) != 1 {
				t.Errorf("flows %v, journals %v", f, journalsIn(t, tt.want.JournalDir))
			}
			must(t, next.Verify())
			undo(t, next)
			m.unchanged(t, was)
		})
	}
}

// TestCutShort: a journal whose last line was not written to its end, which is
// how a process is killed while it writes.
func TestCutShort(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	was := m.snapshot()
	for _, tail := range []string{"{", `{"record":{"seq":99,"at":1,"change":{"rings":{}}}}`, "\x00\x00", `{"undone":{"seq":1,"outcome":"restored"}`} {
		a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(80)}})
		kill(t, a)
		f, err := os.OpenFile(journalsIn(t, dir)[0], os.O_WRONLY|os.O_APPEND, 0)
		must(t, err)
		_, err = f.WriteString(tail)
		must(t, errors.Join(err, f.Close()))
		restore(t, RestoreOptions{JournalDir: dir})
		m.unchanged(t, was)
		if left := journalsIn(t, dir); len(left) != 0 {
			t.Fatalf("%q: %v is left", tail, left)
		}
	}
}

// TestCorrupt: a journal that can't be understood is reported, kept, and nothing
// is done on its behalf; it does not keep others from being restored.
func TestCorrupt(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	was := m.snapshot()
	a := apply(t, Want{Queue: 1, JournalDir: dir})
	kill(t, a)
	bad := filepath.Join(dir, fmt.Sprintf("if7@7.%d.99.journal", os.Getpid()))
	header, err := os.ReadFile(journalsIn(t, dir)[0])
	must(t, err)
	for _, text := range []string{
		"no journal\n",
		"{}\n",
		`{"header":{"version":99}}` + "\n",
		`{"record":{"seq":1,"change":{"rings":{}}}}` + "\n",
		string(header) + `{"record":{"seq":9,"change":{}}}` + "\n",
		string(header) + `{"number":{"seq":77,"n":1}}` + "\n",
		string(header) + `{"undone":{"seq":1,"outcome":"failed"}}` + "\n",
		string(header) + string(header),
	} {
		must(t, os.WriteFile(bad, []byte(text), 0o600))
		if _, err := Restore(RestoreOptions{JournalDir: dir}); !errors.Is(err, errCorrupt) {
			t.Errorf("%.60q: %v", text, err)
		}
		if b, err := os.ReadFile(bad); err != nil || string(b) != text {
			t.Errorf("%.60q was changed: %q, %v", text, b, err)
		}
		if _, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir}); !errors.Is(err, errCorrupt) {
			t.Errorf("%.60q: a plan beside it: %v", text, err)
		}
	}
	m.unchanged(t, was)
	must(t, os.Remove(bad))

	must(t, os.WriteFile(bad, header, 0o666))
	must(t, os.Chmod(bad, 0o666))
	if _, err := Restore(RestoreOptions{JournalDir: dir}); !errors.Is(err, unix.EPERM) {
		t.Errorf("a journal that anybody could have written: %v", err)
	}
	must(t, os.Remove(bad))
}

// TestOtherBoot: what was changed before a reboot is not there any more.
func TestOtherBoot(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	a := apply(t, Want{Queue: 1, JournalDir: dir})
	h := a.j.header
	h.Boot = "another"
	j, err := (&dirStore{dir: dir}).create(h)
	must(t, err)
	_, err = j.add(change{Rings: &ringsChange{Before: Rings{DataSplit: SplitUnknown}, After: a.j.pending()[0].Change.Rings.After}})
	must(t, errors.Join(err, j.out.release()))
	now := m.snapshot()
	if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 0 {
		t.Errorf("restored: %v", r)
	}
	m.unchanged(t, now)
	if n := journalsIn(t, dir); len(n) != 1 {
		t.Errorf("journals: %v", n)
	}
}

// TestApplyFails: a change that fails, though it was made, takes those before it
// with it.
func TestApplyFails(t *testing.T) {
	for _, tt := range lives {
		t.Run(tt.name, func(t *testing.T) {
			failing := map[string]bool{}
			for {
				m := tt.nic()
				tt.want.JournalDir = m.install(t)
				was := m.snapshot()
				failed := ""
				m.after = func(call string) error {
					if failed == "" && !failing[call] {
						failed = call
						failing[call] = true
						return unix.EIO
					}
					return nil
				}
				p, err := NewPlan("eth7", tt.want)
				must(t, err)
				a, err := p.Apply()
				m.after = nil
				if failed == "" {
					must(t, err)
					undo(t, a)
					if len(failing) < 4 {
						t.Errorf("only %v can fail", failing)
					}
					return
				}
				if !errors.Is(err, unix.EIO) {
					t.Fatalf("%s failed: %v", failed, err)
				}
				m.unchanged(t, was)
				if n := journalsIn(t, tt.want.JournalDir); len(n) != 0 || t.Failed() {
					t.Fatalf("%s failed: journals %v", failed, n)
				}
			}
		})
	}
}

// TestDriverIgnores: a driver that says yes and does nothing is found out.
func TestDriverIgnores(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	m.after = func(call string) error {
		if call == "setRings" {
			m.state.Rings.DataSplit = SplitOff
		}
		return nil
	}
	was := m.snapshot()
	p, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir})
	must(t, err)
	if _, err := p.Apply(); !errors.Is(err, unix.ESTALE) {
		t.Errorf("error: %v", err)
	}
	m.unchanged(t, was)
	if !reflect.DeepEqual(was, m.snapshot()) {
		t.Error("not put back")
	}
}

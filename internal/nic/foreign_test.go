//go:build linux

package nic

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestForeignChanges: what somebody else has changed meanwhile stays as he has
// it, and everything else is put back.
func TestForeignChanges(t *testing.T) {
	for _, tt := range []struct {
		name    string
		change  func(s *nicState)
		setting string
		want    Outcome
		says    string
		stays   func(was *nicState) // makes was what is to be at the end
	}{
		{
			"another RSS table", func(s *nicState) { s.Indir, s.Configured = spread(128, 2), true }, "rss", Foreign, "equal 2",
			func(was *nicState) { was.Indir, was.Configured = spread(128, 2), true },
		},
		{
			"the RSS table put back by hand", func(s *nicState) { s.Indir, s.Configured = spread(128, 4), false }, "rss", Unchanged, "",
			func(*nicState) {},
		},
		{
			"split off by hand, but not the threshold back", func(s *nicState) { s.Rings.DataSplit = SplitOff }, "rings", Restored, "",
			func(*nicState) {},
		},
		{
			"another threshold", func(s *nicState) { s.Rings.HDSThresh = number32(5) }, "rings", Foreign, "hds-thresh 5",
			func(was *nicState) { was.Rings.HDSThresh, was.Rings.DataSplit = number32(5), SplitOn },
		},
		{
			"our rule deleted", func(s *nicState) { delete(s.Rules, 16) }, "rule 16", Unchanged, "",
			func(*nicState) {},
		},
		{
			"another rule in its place", func(s *nicState) {
				s.Rules[16] = Rule{Location: 16, Exact: true, Match: Match{Proto: UDP, Port: 5}, Queue: 2}
			},
			"rule 16", Foreign, "udp4 port 5 to queue 2",
			func(was *nicState) {
				was.Rules[16] = Rule{Location: 16, Exact: true, Match: Match{Proto: UDP, Port: 5}, Queue: 2}
				was.Features[FeatureRules] = Feature{Active: true, Wanted: true, Changeable: true}
			},
		},
		{
			"a rule of others", func(s *nicState) { s.Rules[1] = Rule{Location: 1, Queue: 2} },
			"feature rx-ntuple-filter", Foreign, "1 flow rules of others need it",
			func(was *nicState) {
				was.Rules[1] = Rule{Location: 1, Queue: 2}
				was.Features[FeatureRules] = Feature{Active: true, Wanted: true, Changeable: true}
			},
		},
		{
			"all rules and the feature gone", func(s *nicState) {
				clear(s.Rules)
				s.Features[FeatureRules] = Feature{Changeable: true}
			}, "feature rx-ntuple-filter", Unchanged, "",
			func(*nicState) {},
		},
		{
			"another driver under the same index", func(s *nicState) { s.Driver = "other" }, "rings", Vanished, "",
			func(was *nicState) {},
		},
	} {
		for _, end := range []string{"undo", "kill"} {
			t.Run(tt.name+", "+end, func(t *testing.T) {
				m := gve(4)
				m.state.Rings.HDSThresh = number32(9)
				dir := m.install(t)
				was := m.snapshot()
				a := apply(t, Want{Queue: 3, JournalDir: dir, Flows: []Flow{tcpPort(9000)}})
				m.change(tt.change)
				changed := m.snapshot()
				var report Report
				if end == "undo" {
					report = undo(t, a)
				} else {
					kill(t, a)
					report = restore(t, RestoreOptions{JournalDir: dir})[0]
				}
				if got := outcomes(report)[tt.setting]; got != tt.want || !strings.Contains(report.String(), tt.says) {
					t.Errorf("%s: %q, want %q that says %q:\n%v", tt.setting, got, tt.want, tt.says, report)
				}
				tt.stays(&was)
				if tt.want == Vanished {
					was = changed
				}
				m.unchanged(t, was)
				if n := journalsIn(t, dir); len(n) != 0 {
					t.Errorf("journals: %v", n)
				}
			})
		}
	}
}

func TestInterfaceGone(t *testing.T) {
	for _, end := range []string{"undo", "kill"} {
		m := gve(2)
		dir := m.install(t)
		a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(9000)}})
		if end == "kill" {
			kill(t, a)
		}
		m.gone = true
		var report Report
		if end == "undo" {
			if err := a.Verify(); !errors.Is(err, unix.ENODEV) {
				t.Errorf("Verify: %v", err)
			}
			report = undo(t, a)
		} else {
			report = restore(t, RestoreOptions{JournalDir: dir})[0]
		}
		if len(report.Results) != 5 {
			t.Errorf("%s: %v", end, report)
		}
		for _, r := range report.Results {
			if r.Outcome != Vanished {
				t.Errorf("%s: %v", end, r)
			}
		}
		// It may be in another namespace: what to put back there by hand is said.
		for _, was := range []string{"rings: vanished (was tcp-data-split off)", "rx-ntuple-filter: vanished (was off)"} {
			if !strings.Contains(report.String(), was) {
				t.Errorf("%s: no %q in:\n%v", end, was, report)
			}
		}
		if n := journalsIn(t, dir); len(n) != 0 {
			t.Errorf("%s: journals: %v", end, n)
		}
	}
}

// TestUndoFailsAndIsTriedAgain: later changes that can't be undone keep those
// before them, and nothing is forgotten.
func TestUndoFailsAndIsTriedAgain(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	was := m.snapshot()
	a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{flowTo(TCP, "0.0.0.0:80")}})
	m.fault = func(call string) error {
		if call == "setRSS" || call == "resetRSS" {
			return unix.EIO
		}
		return nil
	}
	report, err := a.Undo()
	o := outcomes(report)
	if !errors.Is(err, unix.EIO) || o["rule 16"] != Restored || o["rss"] != Failed || o["rings"] != Failed {
		t.Errorf("error %v, report\n%v", err, report)
	}
	if m.snapshot().Rings.DataSplit != SplitOn {
		t.Error("the split went before what rests on it")
	}
	// It is still ours.
	if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 0 {
		t.Errorf("restored behind its back: %v", r)
	}
	m.fault = nil
	undo(t, a)
	m.unchanged(t, was)
}

// TestQueueStillBound: nothing is put back under a ring that is still there.
func TestQueueStillBound(t *testing.T) {
	defer func(d time.Duration) { teardownTime = d }(teardownTime)
	teardownTime = 100 * time.Millisecond
	m := gve(2)
	dir := m.install(t)
	was := m.snapshot()
	a := apply(t, Want{Queue: 1, JournalDir: dir})
	m.change(func(s *nicState) { s.Bound[1] = QueueState{IOUring: true} })
	applied := m.snapshot()
	if report, err := a.Undo(); !IsObstacle(err, QueueBusy) || len(report.Results) != 0 {
		t.Errorf("Undo of a queue in use: %v, %v", report, err)
	}
	m.unchanged(t, applied)

	// The kernel takes a while to take it down; Undo and Restore wait.
	polls := 0
	m.fault = func(call string) error {
		if call == "queue" {
			if polls++; polls == 3 {
				delete(m.state.Bound, 1)
			}
		}
		return nil
	}
	kill(t, a)
	restore(t, RestoreOptions{JournalDir: dir})
	if polls < 3 {
		t.Errorf("looked %d times", polls)
	}
	m.unchanged(t, was)
}

// TestPrepareWaits: right after a process was killed its ring is still bound,
// with a journal and without.
func TestPrepareWaits(t *testing.T) {
	for _, journaled := range []bool{true, false} {
		m := gve(2)
		dir := m.install(t)
		was := m.snapshot()
		if journaled {
			kill(t, apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(80)}}))
		}
		m.change(func(s *nicState) { s.Bound[1] = QueueState{IOUring: true} })
		polls := 0
		m.fault = func(call string) error {
			if call == "queues" {
				if polls++; polls == 3 {
					delete(m.state.Bound, 1)
				}
			}
			return nil
		}
		a, err := Prepare("eth7", Want{Queue: AnyQueue, JournalDir: dir, Flows: []Flow{tcpPort(80)}})
		must(t, err)
		must(t, a.Verify())
		undo(t, a)
		m.unchanged(t, was)
		m.fault = nil

		m.change(func(s *nicState) { s.Bound[1] = QueueState{XSK: true} })
		if _, err := Prepare("eth7", Want{Queue: 1, JournalDir: dir}); !IsObstacle(err, QueueBusy) {
			t.Errorf("a queue of an AF_XDP socket's: %v", err)
		}
	}
}

// TestVerify notices everything that a device reset or a person may do.
func TestVerify(t *testing.T) {
	for name, change := range map[string]func(s *nicState){
		"channels":  func(s *nicState) { s.Channels.Combined = 1 },
		"split":     func(s *nicState) { s.Rings.DataSplit = SplitOff },
		"threshold": func(s *nicState) { s.Rings.HDSThresh = number32(1) },
		"rss":       func(s *nicState) { s.Indir = spread(128, 2) },
		"feature":   func(s *nicState) { s.Features[FeatureRules] = Feature{} },
		"rule":      func(s *nicState) { delete(s.Rules, 17) },
		"changed rule": func(s *nicState) {
			r := s.Rules[17]
			r.Queue = 0
			s.Rules[17] = r
		},
		"nothing": nil,
	} {
		m := gve(2)
		dir := m.install(t)
		a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(80)}})
		if change == nil {
			must(t, errors.Join(a.Verify(), a.Drifted()))
			undo(t, a)
			for _, err := range []error{a.Verify(), a.Drifted()} {
				if !errors.Is(err, unix.EBADF) {
					t.Errorf("of what was undone: %v", err)
				}
			}
			continue
		}
		m.change(change)
		if err := a.Verify(); !errors.Is(err, unix.ESTALE) {
			t.Errorf("%s: %v", name, err)
		}
		// The kernel does not let others change the rest, or there may be much of it.
		seen := name == "rss" || name == "feature"
		if err := a.Drifted(); errors.Is(err, unix.ESTALE) != seen || (err != nil) != seen {
			t.Errorf("%s: drifted: %v", name, err)
		}
	}
}

func TestUnclaimed(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	m.state.Features[FeatureRules] = Feature{Active: true, Wanted: true, Changeable: true}
	mine := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{flowTo(TCP, "0.0.0.0:80")}}) // at 16
	dead := apply(t, Want{Queue: 2, JournalDir: dir, Flows: []Flow{flowTo(TCP, "0.0.0.0:81")}}) // at 17
	kill(t, dead)
	m.change(func(s *nicState) {
		for _, location := range []uint32{0, 15, 18, 47, 48} {
			s.Rules[location] = Rule{Location: location, Exact: true, Match: Match{Proto: TCP, Port: uint16(location)}, Queue: 0}
		}
		s.Rules[40] = Rule{Location: 40, Queue: 0} // not of our kind
	})
	if _, err := Restore(RestoreOptions{JournalDir: dir, Unclaimed: true}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no interface: %v", err)
	}
	reports := restore(t, RestoreOptions{JournalDir: dir, Unclaimed: true, Interface: "eth7"})
	var left []uint32
	for location := range m.snapshot().Rules {
		left = append(left, location)
	}
	slices.Sort(left)
	if want := []uint32{0, 15, 16, 40, 48}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v; %v", left, want, reports)
	}
	must(t, mine.Verify())
	if r := restore(t, RestoreOptions{JournalDir: dir, Unclaimed: true, Interface: "eth7"}); len(r) != 1 || outcomes(r[0])["rss"] != Needed {
		t.Errorf("the rest is needed: %v", r)
	}
}

func TestRestoreOnly(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	was := m.snapshot()
	a := apply(t, Want{Queue: 1, JournalDir: dir})
	kill(t, a)
	if r := restore(t, RestoreOptions{JournalDir: dir, Interface: "eth8"}); len(r) != 0 {
		t.Errorf("another interface: %v", r)
	}
	if r := restore(t, RestoreOptions{JournalDir: dir, Interface: "eth7"}); len(r) != 1 || r[0].Interface != "eth7" || r[0].Index != 7 {
		t.Errorf("the interface: %v", r)
	}
	m.unchanged(t, was)

	// A journal of another namespace is not touched.
	a = apply(t, Want{Queue: 1, JournalDir: dir})
	kill(t, a)
	m.netnsID++
	if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 0 || len(journalsIn(t, dir)) != 1 {
		t.Errorf("from another namespace: %v", r)
	}
	m.netnsID--
	// An interface that was renamed is found.
	m.change(func(s *nicState) { s.Link.Interface = "lan0" })
	if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 1 || r[0].Interface != "lan0" {
		t.Errorf("renamed: %v", r)
	}
}

//go:build linux

package nic

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTwoPlans: plans on two queues of an interface, which end in any order, by
// themselves or by being killed. At no time does one lose what it needs.
func TestTwoPlans(t *testing.T) {
	for _, memoryOnly := range []bool{false, true} {
		for _, order := range []string{"first", "second"} {
			for _, end := range []string{"undo", "kill"} {
				if memoryOnly && end == "kill" {
					continue // the journal dies with it
				}
				t.Run(order+" goes first, "+end, func(t *testing.T) {
					m := gve(4)
					dir := m.install(t)
					st := store(memory{new(memoryState), errors.New("for the test")})
					if !memoryOnly {
						d, err := openDir(dir)
						must(t, err)
						st = d
					}
					was := m.snapshot()
					a := applyOn(t, m, st, Want{Queue: AnyQueue, Flows: []Flow{tcpPort(80)}})
					b := applyOn(t, m, st, Want{Queue: AnyQueue, Flows: []Flow{tcpPort(81)}})
					if a.Queue() != 3 || b.Queue() != 2 {
						t.Fatalf("queues %d and %d", a.Queue(), b.Queue())
					}
					if (a.Volatile() != nil) != memoryOnly {
						t.Errorf("volatile: %v", a.Volatile())
					}
					must(t, errors.Join(a.Verify(), b.Verify()))
					if order == "second" {
						a, b = b, a
					}
					if end == "kill" {
						kill(t, a)
						_, err := restoreIn(st, RestoreOptions{})
						must(t, err)
					} else {
						r := undo(t, a)
						if outcomes(r)["rss"] != Needed {
							t.Errorf("the first one's end:\n%v", r)
						}
					}
					must(t, b.Verify())
					if n := len(m.snapshot().Rules); n != 2 {
						t.Errorf("%d rules", n)
					}
					// A third comes and goes while the other is there.
					c := applyOn(t, m, st, Want{Queue: a.Queue(), Flows: []Flow{tcpPort(82)}})
					must(t, errors.Join(b.Verify(), c.Verify()))
					undo(t, c)
					must(t, b.Verify())
					undo(t, b)
					m.unchanged(t, was)
					if !memoryOnly && len(journalsIn(t, dir)) != 0 {
						t.Errorf("journals: %v", journalsIn(t, dir))
					}
				})
			}
		}
	}
}

func applyOn(t *testing.T, m *model, st store, w Want) *Applied {
	t.Helper()
	p, err := planOn(&handle{model: m}, st, w)
	must(t, err)
	a, err := p.Apply()
	must(t, err)
	return a
}

// TestDirectoryDeleted: the journals were taken away, by somebody who cleaned up.
func TestDirectoryDeleted(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	was := m.snapshot()
	a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(80)}})
	must(t, os.RemoveAll(dir))
	must(t, a.AddFlow(tcpPort(81)))
	undo(t, a)
	m.unchanged(t, was)
}

// TestSameQueueTwice: a queue belongs to one plan.
func TestSameQueueTwice(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	early, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir})
	must(t, err)
	a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(80)}})
	var o *ObstacleError
	if _, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir}); !errors.As(err, &o) || o.Obstacle != QueueBusy || o.ring {
		t.Errorf("the same queue: %v", err)
	}
	if _, err := early.Apply(); !IsObstacle(err, QueueBusy) {
		t.Errorf("a plan that was made before: %v", err)
	}
	if _, err := NewPlan("eth7", Want{Queue: 2, JournalDir: dir, Flows: []Flow{tcpPort(80)}}); !IsObstacle(err, FlowConflict) {
		t.Errorf("the same port: %v", err)
	}
	must(t, a.Verify())
}

// TestManyPlansAtOnce: plans of several goroutines come and go and are killed, in
// any order; in the end everything is as it was.
func TestManyPlansAtOnce(t *testing.T) {
	m := gve(5)
	dir := m.install(t)
	was := m.snapshot()
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 12 {
				a, err := Prepare("eth7", Want{Queue: AnyQueue, JournalDir: dir, Flows: []Flow{tcpPort(uint16(1 + g))}})
				if err != nil {
					t.Error(err)
					return
				}
				f := flowTo(TCP, "10.0.0.1:99")
				f.Local = tcpPort(uint16(100 + g)).Local
				if err := errors.Join(a.AddFlow(f), a.Verify()); err != nil {
					t.Error(err)
				}
				if r.IntN(3) == 0 {
					kill(t, a)
				} else if _, err := a.Undo(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	restore(t, RestoreOptions{JournalDir: dir})
	m.unchanged(t, was)
	if n := journalsIn(t, dir); len(n) != 0 {
		t.Errorf("journals: %v", n)
	}
}

// TestMemoryFallback: without a directory there is a plan all the same, which says so.
func TestMemoryFallback(t *testing.T) {
	m := gve(2)
	m.install(t)
	why := errors.New("no directory")
	st := memory{new(memoryState), why}
	was := m.snapshot()
	a := applyOn(t, m, st, Want{Queue: 1, Flows: []Flow{tcpPort(80)}})
	if !errors.Is(a.Volatile(), why) {
		t.Errorf("volatile: %v", a.Volatile())
	}
	if r, err := restoreIn(st, RestoreOptions{}); !errors.Is(err, why) || len(r) != 0 {
		t.Errorf("Restore: %v, %v", r, err)
	}
	undo(t, a)
	m.unchanged(t, was)
	if len(st.all) != 0 {
		t.Errorf("%d journals", len(st.all))
	}
}

func TestFlows(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(80)}})
	rules := func(want int) {
		t.Helper()
		if n := len(m.snapshot().Rules); n != want {
			t.Errorf("%d rules, want %d: %v", n, want, a.Flows())
		}
	}
	rules(2)
	four, mapped := flowTo(TCP, "0.0.0.0:80"), flowTo(TCP, "[::ffff:10.0.0.9]:81")
	must(t, a.AddFlow(four)) // is part of what is there
	rules(2)
	must(t, a.AddFlow(mapped))
	must(t, a.AddFlow(flowTo(UDP, "[fe80::1%eth7]:80")))
	rules(4)
	want := []string{"tcp 0.0.0.0:80", "tcp 10.0.0.9:81", "udp [fe80::1]:80", "tcp [::]:80"}
	var got []string
	for _, f := range a.Flows() {
		got = append(got, f.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("flows %v, want %v", got, want)
	}
	must(t, a.Verify())
	must(t, a.RemoveFlow(tcpPort(80))) // the IPv4 half is needed by four
	rules(3)
	must(t, a.RemoveFlow(four))
	rules(2)
	must(t, a.RemoveFlow(flowTo(TCP, "10.0.0.9:81")))
	rules(1)
	for _, f := range []Flow{four, tcpPort(80), tcpPort(7)} {
		if err := a.RemoveFlow(f); !errors.Is(err, unix.ENOENT) {
			t.Errorf("removed twice: %v", err)
		}
	}
	for _, f := range []Flow{{}, tcpPort(0), {Proto: 1, Local: four.Local}} {
		if a.AddFlow(f) == nil || a.RemoveFlow(f) == nil {
			t.Errorf("%v was accepted", f)
		}
	}
	undo(t, a)
	if err := a.AddFlow(four); !errors.Is(err, unix.EBADF) {
		t.Errorf("AddFlow after Undo: %v", err)
	}
	if err := a.RemoveFlow(four); !errors.Is(err, unix.EBADF) {
		t.Errorf("RemoveFlow after Undo: %v", err)
	}
	if len(a.Flows()) != 0 {
		t.Errorf("flows after Undo: %v", a.Flows())
	}
}

func TestFlowObstacles(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	m.tableSize = 2 // all of them ours
	a := apply(t, Want{Queue: 1, JournalDir: dir})
	m.change(func(s *nicState) {
		s.Rules[2] = Rule{Location: 2, Exact: true, Match: Match{Proto: TCP, IPv6: true, Port: 80}, Queue: 0}
	})
	now := m.snapshot()
	if err := a.AddFlow(tcpPort(80)); !IsObstacle(err, FlowConflict) || !errors.Is(err, unix.EEXIST) {
		t.Errorf("a port of others: %v", err)
	}
	m.unchanged(t, now) // the IPv4 half, too
	must(t, a.AddFlow(tcpPort(81)))
	now = m.snapshot()
	if err := a.AddFlow(tcpPort(82)); !IsObstacle(err, RulesFull) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full table: %v", err)
	}
	m.unchanged(t, now)
	m.fault = func(call string) error {
		if call == "deleteRule" {
			return unix.EPERM
		}
		return nil
	}
	if err := a.RemoveFlow(tcpPort(81)); !errors.Is(err, unix.EPERM) {
		t.Errorf("RemoveFlow that fails: %v", err)
	}
	m.fault = nil
	must(t, a.AddFlow(tcpPort(81))) // takes up what is there
	m.unchanged(t, now)
	must(t, a.Verify())
	must(t, a.RemoveFlow(tcpPort(81)))
}

// TestManualSteering: flows are somebody else's business.
func TestManualSteering(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	m.noRSS = true
	m.state.Features = map[string]Feature{}
	a := apply(t, Want{Queue: 1, JournalDir: dir, ManualSteering: true, Flows: []Flow{tcpPort(1)}})
	must(t, errors.Join(a.AddFlow(tcpPort(80)), a.RemoveFlow(tcpPort(80)), a.Verify()))
	if n := len(m.snapshot().Rules); n != 0 {
		t.Errorf("%d rules", n)
	}
}

// The counters are the queue's own, and gone with what was applied.
func TestAppliedStats(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	a, err := Prepare("eth7", Want{Queue: 2, JournalDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := a.Stats(); err != nil || s.Packets == nil || *s.Packets != 200 || s.Dropped() != 9 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := a.Undo(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Stats(); !errors.Is(err, unix.EBADF) {
		t.Errorf("after Undo: %v", err)
	}
}

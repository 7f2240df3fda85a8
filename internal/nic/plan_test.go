//go:build linux

package nic

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func commands(steps []Step) (list []string) {
	for _, s := range steps {
		list = append(list, s.Command)
	}
	return list
}

func number32(n uint32) *uint32 { return &n }

func TestPlanSteps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		nic   func() *model
		want  Want
		queue int
		steps []string
	}{
		{
			"gve as it comes", func() *model { return gve(2) },
			Want{Queue: AnyQueue, Flows: []Flow{tcpPort(9000)}}, 1,
			[]string{
				"ethtool -G eth7 tcp-data-split on",
				"ethtool -X eth7 equal 1",
				"ethtool -K eth7 ntuple on",
				"ethtool -N eth7 flow-type tcp4 dst-port 9000 action 1 loc 16",
				"ethtool -N eth7 flow-type tcp6 dst-port 9000 action 1 loc 17",
			},
		},
		{
			"one channel of two", func() *model { return gve(1) },
			Want{Queue: AnyQueue}, 1,
			[]string{
				"ethtool -L eth7 combined 2",
				"ethtool -G eth7 tcp-data-split on",
				"ethtool -X eth7 equal 1",
				"ethtool -K eth7 ntuple on",
			},
		},
		{
			"one receive queue of four, with channels of their own", func() *model {
				m := gve(1)
				m.state.Channels = Channels{RX: 1, TX: 1, RXMax: 4, TXMax: 4}
				return m
			},
			Want{Queue: AnyQueue, ManualSteering: true}, 1,
			[]string{"ethtool -L eth7 rx 2", "ethtool -G eth7 tcp-data-split on"},
		},
		{
			"a queue in the middle", func() *model { return gve(4) },
			Want{Queue: 2, Flows: []Flow{flowTo(UDP, "[fd00::1]:53"), flowTo(TCP, "10.0.0.1:80"), flowTo(TCP, "10.0.0.1:80")}}, 2,
			[]string{
				"ethtool -G eth7 tcp-data-split on",
				"ethtool -X eth7 weight 43 43 0 42",
				"ethtool -K eth7 ntuple on",
				"ethtool -N eth7 flow-type udp6 dst-ip fd00::1 dst-port 53 action 2 loc 16",
				"ethtool -N eth7 flow-type tcp4 dst-ip 10.0.0.1 dst-port 80 action 2 loc 17",
			},
		},
		{
			"a threshold, and rules on", func() *model {
				m := gve(2)
				m.state.Rings.HDSThresh = number32(1023)
				m.state.Features[FeatureRules] = Feature{Active: true, Wanted: true, Changeable: true}
				return m
			},
			Want{Queue: 1}, 1,
			[]string{"ethtool -G eth7 tcp-data-split on hds-thresh 0", "ethtool -X eth7 equal 1"},
		},
		{
			"split on by the driver's choice", func() *model {
				m := gve(2)
				m.state.Rings.DataSplit = SplitOn
				return m
			},
			Want{Queue: 1, ManualSteering: true, Flows: []Flow{tcpPort(1)}}, 1,
			[]string{"ethtool -G eth7 tcp-data-split on"},
		},
		{
			"mlx5", func() *model {
				m := gve(2)
				m.state.Driver = "mlx5_core"
				m.state.Features[FeatureHWGRO] = Feature{Changeable: true}
				return m
			},
			Want{Queue: 1}, 1,
			[]string{
				"ethtool -K eth7 rx-gro-hw on",
				"ethtool -G eth7 tcp-data-split on",
				"ethtool -X eth7 equal 1",
				"ethtool -K eth7 ntuple on",
			},
		},
		{
			"a context", func() *model {
				m := gve(2)
				m.noContexts = false
				m.state.Indir = spread(128, 1)
				return m
			},
			Want{Queue: 1, RSSContext: true, Flows: []Flow{flowTo(TCP, "0.0.0.0:80")}}, 1,
			[]string{
				"ethtool -G eth7 tcp-data-split on",
				"ethtool -K eth7 ntuple on",
				"ethtool -X eth7 context new start 1 equal 1",
				"ethtool -N eth7 flow-type tcp4 dst-port 80 context NEW loc 16",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.nic()
			tt.want.JournalDir = m.install(t)
			was := m.snapshot()
			p, err := NewPlan("eth7", tt.want)
			must(t, err)
			if got := commands(p.Steps); !reflect.DeepEqual(got, tt.steps) || p.Queue != tt.queue {
				t.Errorf("queue %d, steps\n%s\nwant queue %d\n%s", p.Queue, strings.Join(got, "\n"), tt.queue, strings.Join(tt.steps, "\n"))
			}
			m.unchanged(t, was)
			if n := journalsIn(t, tt.want.JournalDir); len(n) != 0 || len(m.calls) != 0 {
				t.Errorf("a plan wrote %v and called %v", n, m.calls)
			}
			table := p.String()
			for _, s := range tt.steps {
				if !strings.Contains(table, s) {
					t.Errorf("the table lacks %q:\n%s", s, table)
				}
			}
			var decoded struct {
				Interface string
				Queue     int
				Steps     []Step
			}
			b, err := json.Marshal(p)
			must(t, err)
			must(t, json.Unmarshal(b, &decoded))
			if decoded.Interface != "eth7" || decoded.Queue != tt.queue || !reflect.DeepEqual(decoded.Steps, p.Steps) {
				t.Errorf("JSON %s", b)
			}
			must(t, p.Close())
			must(t, p.Close())
			if _, err := p.Apply(); !errors.Is(err, unix.EBADF) {
				t.Errorf("Apply of a closed plan: %v", err)
			}
		})
	}
}

// TestPlanApplied: what has been applied needs nothing more, but for another
// queue; and an undone plan leaves nothing.
func TestPlanApplied(t *testing.T) {
	for _, tt := range []struct {
		name string
		nic  func() *model
		want Want
	}{
		{"gve", func() *model { return gve(2) }, Want{Queue: 1, Flows: []Flow{tcpPort(9000)}}},
		{"one channel", func() *model { return gve(1) }, Want{Queue: AnyQueue, Flows: []Flow{tcpPort(9000)}}},
		{"one receive queue", func() *model {
			m := gve(1)
			m.state.Channels = Channels{RX: 1, TX: 1, RXMax: 4, TXMax: 4}
			return m
		}, Want{Queue: AnyQueue, Flows: []Flow{tcpPort(9000)}}},
		{"a table of somebody's", func() *model {
			m := gve(4)
			m.state.Indir = append(spread(64, 4), spread(64, 2)...)
			m.state.Configured = true
			return m
		}, Want{Queue: 2}},
		{"one queue, and the device holds the table", func() *model {
			m := gve(1)
			m.keepsTable = true
			m.state.Channels.CombinedMax = 4
			m.state.Indir = spread(128, 4)
			return m
		}, Want{Queue: 1}},
		{"a table with queues that have gone", func() *model {
			m := gve(4)
			m.state.Channels.Combined = 2
			m.keepsTable = true
			m.state.Indir = spread(128, 4)
			return m
		}, Want{Queue: 1}},
		{"a default table whose key the driver renews", func() *model {
			m := gve(3)
			m.state.Configured = true // and will be again: the driver leaves no other way
			m.renewsKey = true
			return m
		}, Want{Queue: 1}},
		{"a threshold", func() *model {
			m := gve(2)
			m.state.Rings.HDSThresh = number32(256)
			return m
		}, Want{Queue: 1}},
		{"mlx5", func() *model {
			m := gve(8)
			m.state.Driver = "mlx5_core"
			m.state.Features[FeatureHWGRO] = Feature{Changeable: true}
			return m
		}, Want{Queue: 5, Flows: []Flow{tcpPort(1), tcpPort(2)}}},
		{"context", func() *model {
			m := gve(2)
			m.noContexts = false
			m.state.Contexts[1] = spread(128, 1)
			return m
		}, Want{Queue: 1, RSSContext: true, Flows: []Flow{tcpPort(9000)}}},
		{"the driver places rules", func() *model {
			m := gve(2)
			m.driverPlaces = true
			m.state.Features[FeatureRules] = Feature{Active: true, Wanted: true, Changeable: true}
			m.state.Rules[100] = Rule{Location: 100, Exact: true, Match: Match{Proto: TCP, Port: 22}}
			return m
		}, Want{Queue: 1, Flows: []Flow{tcpPort(9000)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.nic()
			tt.want.JournalDir = m.install(t)
			was := m.snapshot()
			a := apply(t, tt.want)
			must(t, a.Verify())
			if a.Volatile() != nil || a.Interface() != "eth7" || a.Index() != 7 || len(a.Steps()) == 0 {
				t.Errorf("volatile %v, interface %s %d, steps %v", a.Volatile(), a.Interface(), a.Index(), a.Steps())
			}
			now := m.snapshot()
			if !now.Rings.splitsAll() || (RSS{Indir: now.Indir}).Uses(a.Queue()) || !now.Features[FeatureRules].Active {
				t.Errorf("applied: %+v", now)
			}
			to := 0
			for _, r := range now.Rules {
				if r.reaches(a.Queue(), []RSS{{Context: 2, Indir: now.Contexts[2]}}) {
					to++
				}
			}
			if to != 2*len(tt.want.Flows) {
				t.Errorf("%d rules to the queue: %v", to, now.Rules)
			}
			if n := journalsIn(t, tt.want.JournalDir); len(n) != 1 {
				t.Errorf("journals: %v", n)
			}
			for _, r := range undo(t, a).Results {
				if r.Outcome != Restored && r.Outcome != Unchanged {
					t.Errorf("%v", r)
				}
			}
			if m.keepsTable {
				was.Indir = spread(128, was.Channels.RXQueues()) // nobody can set the other one
			}
			m.unchanged(t, was)
			if r := undo(t, a); len(r.Results) != 0 {
				t.Errorf("undone twice: %v", r)
			}
			if n := journalsIn(t, tt.want.JournalDir); len(n) != 0 {
				t.Errorf("journals at the end: %v", n)
			}
		})
	}
}

func TestPlanObstacles(t *testing.T) {
	rulesOn := Feature{Active: true, Wanted: true, Changeable: true}
	for _, tt := range []struct {
		name string
		nic  func(m *model)
		want Want
		is   Obstacle
		err  unix.Errno
		says string
	}{
		{"no interface", func(m *model) { m.gone = true }, Want{Queue: 1}, NoInterface, unix.ENODEV, ""},
		{"no rings", func(m *model) { m.state.Rings = Rings{} }, Want{Queue: 1}, NoDataSplit, unix.EOPNOTSUPP, "driver gve has no ring settings"},
		{"no split", func(m *model) { m.state.Rings.DataSplit = SplitUnknown }, Want{Queue: 1}, NoDataSplit, unix.EOPNOTSUPP, "offers no header/data split"},
		{
			"rings unreadable", func(m *model) {
				m.fault = func(call string) error {
					if call == "rings" {
						return unix.EIO
					}
					return nil
				}
			}, Want{Queue: 1}, Unreadable, unix.EIO, "rings can't be read",
		},
		{
			"one channel", func(m *model) { m.state.Channels = Channels{Combined: 1, CombinedMax: 1} },
			Want{Queue: 1}, OneChannel, unix.ERANGE, "allows no more",
		},
		{
			"no channels at all", func(m *model) {
				m.fault = func(call string) error {
					if call == "channels" || call == "queues" {
						return unix.EOPNOTSUPP
					}
					return nil
				}
			}, Want{Queue: 1}, OneChannel, unix.ERANGE, "",
		},
		{"queue 0", func(*model) {}, Want{Queue: 0}, QueueZero, unix.ERANGE, "1 to 2"},
		{"no such queue", func(*model) {}, Want{Queue: 3}, QueueRange, unix.ERANGE, "it has 3"},
		{
			"queue 0 of two", func(m *model) { m.state.Channels = Channels{Combined: 2, CombinedMax: 2} },
			Want{Queue: 0}, QueueZero, unix.ERANGE, "use queue 1",
		},
		{
			"no such queue of two", func(m *model) { m.state.Channels = Channels{Combined: 2, CombinedMax: 2} },
			Want{Queue: 2}, QueueRange, unix.ERANGE, "use queue 1, or ethtool -L for more",
		},
		{"negative", func(*model) {}, Want{Queue: -2}, QueueRange, unix.ERANGE, ""},
		{
			"io_uring", func(m *model) { m.state.Bound[1] = QueueState{IOUring: true} },
			Want{Queue: 1}, QueueBusy, unix.EBUSY, "an io_uring zcrx instance",
		},
		{
			"AF_XDP", func(m *model) { m.state.Bound[2] = QueueState{XSK: true} },
			Want{Queue: 2}, QueueBusy, unix.EBUSY, "an AF_XDP socket",
		},
		{
			"dmabuf", func(m *model) { m.state.Bound[2] = QueueState{DMABuf: 5} },
			Want{Queue: 2}, QueueBusy, unix.EBUSY, "dmabuf binding 5",
		},
		{
			"lease", func(m *model) {
				ns := int32(3)
				m.state.Bound[2] = QueueState{Lease: &QueuePeer{Index: 9, Queue: 1, NetNS: &ns}}
			}, Want{Queue: 2}, QueueBusy, unix.EBUSY, "queue 1 of the interface with index 9 in network namespace 3",
		},
		{
			"all queues", func(m *model) {
				m.state.Bound[1], m.state.Bound[2] = QueueState{XSK: true}, QueueState{XSK: true}
			}, Want{Queue: AnyQueue}, QueueBusy, unix.EBUSY, "queue 2",
		},
		{
			"XDP", func(m *model) { m.state.Link.XDPAttached, m.state.Link.XDPProgram = true, 42 },
			Want{Queue: 1}, XDPAttached, unix.EEXIST, "XDP program 42",
		},
		{"down", func(m *model) { m.state.Link.Up = false }, Want{Queue: 1}, InterfaceDown, unix.ENETDOWN, "ip link set dev eth7 up"},
		{"no RSS", func(m *model) { m.noRSS = true }, Want{Queue: 1}, NoRSS, unix.EOPNOTSUPP, "no RSS table"},
		{
			"a context of others", func(m *model) {
				m.noContexts = false
				m.state.Contexts[4] = spread(128, 3)
			}, Want{Queue: 1}, ForeignFlows, unix.EBUSY, "RSS context 4",
		},
		{
			"rules can't be turned on", func(m *model) { m.state.Features = map[string]Feature{} },
			Want{Queue: 1}, NoRules, unix.EOPNOTSUPP, "rx-ntuple-filter",
		},
		{
			"rules unreadable", func(m *model) {
				m.state.Features[FeatureRules] = rulesOn
				m.fault = func(call string) error {
					if call == "rules" {
						return unix.EIO
					}
					return nil
				}
			}, Want{Queue: 1}, NoRules, unix.EIO, "can't be read",
		},
		{
			"a rule to the queue", func(m *model) {
				m.state.Rules[3] = Rule{Location: 3, Queue: 1}
			}, Want{Queue: 1}, ForeignFlows, unix.EBUSY, "ethtool -N eth7 delete 3",
		},
		{
			"a rule to the queue by a context", func(m *model) {
				m.noContexts = false
				m.state.Contexts[2] = spread(128, 1)
				m.state.Rules[3] = Rule{Location: 3, Queue: 1, Context: number32(2)}
			}, Want{Queue: 1}, ForeignFlows, unix.EBUSY, "rule 3",
		},
		{
			"the port is taken", func(m *model) {
				m.state.Rules[3] = Rule{Location: 3, Exact: true, Match: Match{Proto: TCP, Port: 9000}, Queue: 2}
			}, Want{Queue: 1, Flows: []Flow{flowTo(TCP, "10.0.0.1:9000")}}, FlowConflict, unix.EEXIST, "rule 3 sends tcp4 port 9000 to queue 2",
		},
		{
			"no room", func(m *model) { m.tableSize = 1 },
			Want{Queue: 1, Flows: []Flow{tcpPort(80)}}, RulesFull, unix.ENOSPC, "2 flow rules are needed and 1",
		},
		{
			"no contexts", func(m *model) {}, Want{Queue: 1, RSSContext: true}, NoContext, unix.EOPNOTSUPP, "",
		},
		{"no capability", func(*model) { mayChange = func() bool { return false } }, Want{Queue: 1}, NoPermission, unix.EPERM, "CAP_NET_ADMIN"},
		{
			"mlx5 without GRO", func(m *model) { m.state.Driver = "mlx5_core" },
			Want{Queue: 1}, NoDataSplit, unix.EOPNOTSUPP, "rx-gro-hw",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := gve(3)
			tt.want.JournalDir = m.install(t)
			tt.nic(m)
			was := m.snapshot()
			p, err := NewPlan("eth7", tt.want)
			if p != nil || !IsObstacle(err, tt.is) || !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("plan %v, error %v; want %q, %v, that says %q", p, err, tt.is, tt.err, tt.says)
			}
			var first *ObstacleError
			if !errors.As(err, &first) || first.Interface != "eth7" || first.Obstacle != tt.is {
				t.Errorf("the first obstacle is %+v", first)
			}
			if first.Remedy == "" && tt.is != Unreadable && tt.err != unix.EIO && tt.is != NoInterface {
				t.Errorf("no remedy in %v", err)
			}
			m.unchanged(t, was)
		})
	}
}

// TestPlanErrorHasAll: every obstacle is there, the fundamental ones first.
func TestPlanErrorHasAll(t *testing.T) {
	m := gve(3)
	dir := m.install(t)
	m.state.Link.Up = false
	m.state.Link.XDPAttached = true
	m.state.Rings.DataSplit = SplitUnknown
	m.noRSS = true
	_, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir})
	for _, o := range []Obstacle{NoDataSplit, XDPAttached, InterfaceDown, NoRSS} {
		if !IsObstacle(err, o) {
			t.Errorf("%q is missing from %v", o, err)
		}
	}
	if IsObstacle(err, NoRules) || !strings.Contains(err.Error(), "header/data split") || !strings.Contains(err.Error(), "3 more") {
		t.Errorf("error: %v", err)
	}
}

func TestPlanWrongFlows(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	for _, f := range []Flow{{Proto: 47, Local: tcpPort(1).Local}, tcpPort(0), {}} {
		if _, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir, Flows: []Flow{f}}); err == nil {
			t.Errorf("%v was accepted", f)
		}
	}
}

func TestPlanDryRun(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	mayChange = func() bool { return false }
	p, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir, DryRun: true})
	must(t, err)
	defer p.Close()
	if _, err := p.Apply(); !errors.Is(err, unix.EINVAL) || len(m.calls) != 0 {
		t.Errorf("Apply of a dry run: %v, calls %v", err, m.calls)
	}
}

func TestPlanAnyQueueTakesAFreeOne(t *testing.T) {
	m := gve(4)
	dir := m.install(t)
	m.state.Bound[3] = QueueState{XSK: true}
	p, err := NewPlan("eth7", Want{Queue: AnyQueue, JournalDir: dir})
	must(t, err)
	defer p.Close()
	if p.Queue != 2 {
		t.Errorf("queue %d", p.Queue)
	}
}

// TestJournalDirMade: the directory that is made is ours alone, and what it lies in for others
// to go through, who have journals beside it.
func TestJournalDirMade(t *testing.T) {
	root := t.TempDir()
	must(t, os.Mkdir(root+"/as", 0o755)) // less the umask
	for _, dir := range []string{root + "/run/nic", root + "/run/too/"} {
		_, err := openDir(dir)
		must(t, err)
		for path, want := range map[string]os.FileMode{dir: 0o700, root + "/run": modeOf(t, root+"/as")} {
			if got := modeOf(t, path); got != want {
				t.Errorf("%s: mode %v, want %v", path, got, want)
			}
		}
	}
}

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	i, err := os.Stat(path)
	must(t, err)
	return i.Mode().Perm()
}

// TestJournalDirs: a directory that others could write to is not believed.
func TestJournalDirs(t *testing.T) {
	m := gve(2)
	m.install(t)
	open := t.TempDir() + "/open"
	must(t, os.Mkdir(open, 0o777))
	must(t, os.Chmod(open, 0o777))
	link := t.TempDir() + "/link"
	must(t, os.Symlink(t.TempDir(), link))
	for _, dir := range []string{open, link, "/dev/null/x", "/proc/nothing"} {
		if _, err := NewPlan("eth7", Want{Queue: 1, JournalDir: dir}); err == nil {
			t.Errorf("%s was accepted", dir)
		}
		if _, err := Restore(RestoreOptions{JournalDir: dir}); err == nil {
			t.Errorf("Restore: %s was accepted", dir)
		}
	}
}

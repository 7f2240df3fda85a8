//go:build linux

package nic

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// nicState is all that a model of a NIC has to remember.
type nicState struct {
	Link       Link
	Driver     string
	Channels   Channels
	Rings      Rings
	Features   map[string]Feature
	Indir      []uint32
	Key        []byte
	Configured bool // IFF_RXFH_CONFIGURED: the table is not the default one
	Contexts   map[uint32][]uint32
	Rules      map[uint32]Rule
	Bound      map[int]QueueState
}

func (s nicState) clone() nicState {
	s.Features, s.Rules, s.Contexts = maps.Clone(s.Features), maps.Clone(s.Rules), maps.Clone(s.Contexts)
	s.Bound = maps.Clone(s.Bound)
	s.Indir, s.Key = slices.Clone(s.Indir), slices.Clone(s.Key)
	if s.Rings.HDSThresh != nil {
		n := *s.Rings.HDSThresh
		s.Rings.HDSThresh = &n
	}
	return s
}

// model is a NIC in memory that behaves as the kernel and gve do. Several
// handles, as of several processes, may be open on it.
type model struct {
	mu    sync.Mutex
	state nicState

	netnsID      uint64
	tableSize    uint32
	driverPlaces bool
	noContexts   bool
	noRSS        bool
	keepsTable   bool // when queues go
	renewsKey    bool // with the default table comes another hash key
	gone         bool
	calls        []string // of those that change something, all in order

	// fault is called before each call with its name, and ends it with its error.
	fault func(call string) error
	// after is called after each call that changed something, and ends it with its error.
	after func(call string) error
}

// gve is a model with so many queues as the lab's NIC has it at first.
func gve(queues int) *model {
	m := &model{netnsID: 7, tableSize: 64, noContexts: true}
	m.state = nicState{
		Link:     Link{Interface: "eth7", Index: 7, Up: true, Running: true},
		Driver:   "gve",
		Channels: Channels{Combined: uint32(queues), CombinedMax: max(2, uint32(queues))},
		Rings:    Rings{RX: 1024, DataSplit: SplitOff},
		Features: map[string]Feature{FeatureRules: {Changeable: true}},
		Indir:    spread(128, queues),
		Key:      []byte("0123456789012345678901234567890123456789"),
		Contexts: map[uint32][]uint32{},
		Rules:    map[uint32]Rule{},
		Bound:    map[int]QueueState{},
	}
	return m
}

func (m *model) snapshot() nicState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.clone()
}

// change lets somebody else change something.
func (m *model) change(fn func(s *nicState)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn(&m.state)
}

// call is what all calls begin with.
func (m *model) call(name string) (*nicState, func(), error) {
	m.mu.Lock()
	if m.gone {
		m.mu.Unlock()
		return nil, nil, fmt.Errorf("%s: %w", name, unix.ENODEV)
	}
	if m.fault != nil {
		if err := m.fault(name); err != nil {
			m.mu.Unlock()
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return &m.state, m.mu.Unlock, nil
}

// read is a call that reads; it returns a copy.
func read[T any](m *model, name string, get func(s *nicState) (T, error)) (T, error) {
	var zero T
	_, unlock, err := m.call(name)
	if err != nil {
		return zero, err
	}
	defer unlock()
	s := m.state.clone()
	return get(&s)
}

// write is a call that changes something.
func (m *model) write(name string, set func(s *nicState) error) error {
	s, unlock, err := m.call(name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := set(s); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.calls = append(m.calls, name)
	if m.after != nil {
		return m.after(name)
	}
	return nil
}

// handle is a device of the model.
type handle struct {
	*model
	closed bool
}

func (h *handle) netns() uint64 { return h.netnsID }

func (h *handle) close() error {
	if h.closed {
		return errors.New("closed twice")
	}
	h.closed = true
	return nil
}

func (h *handle) link() (Link, error) {
	return read(h.model, "link", func(s *nicState) (Link, error) { return s.Link, nil })
}

func (h *handle) driver() (string, error) {
	return read(h.model, "driver", func(s *nicState) (string, error) { return s.Driver, nil })
}

func (h *handle) channels() (Channels, error) {
	return read(h.model, "channels", func(s *nicState) (Channels, error) {
		if s.Channels == (Channels{}) {
			return Channels{}, unix.EOPNOTSUPP
		}
		return s.Channels, nil
	})
}

func (h *handle) setChannels(c Channels) error {
	return h.write("setChannels", func(s *nicState) error {
		n := c.RXQueues()
		if c.Combined > s.Channels.CombinedMax || c.RX > s.Channels.RXMax || n < 1 {
			return unix.EINVAL
		}
		for q := range s.Bound {
			if q >= n && s.Bound[q].Busy() != "" {
				return unix.EINVAL
			}
		}
		for _, r := range s.Rules {
			if r.Queue >= n {
				return unix.EINVAL
			}
		}
		if s.Configured && slices.ContainsFunc(s.Indir, func(q uint32) bool { return int(q) >= n }) {
			return unix.EINVAL
		}
		s.Channels.Combined, s.Channels.RX, s.Channels.TX = c.Combined, c.RX, c.TX
		if !s.Configured && !h.keepsTable {
			s.Indir = spread(len(s.Indir), n)
		}
		return nil
	})
}

func (h *handle) rings() (Rings, error) {
	return read(h.model, "rings", func(s *nicState) (Rings, error) {
		if s.Rings.RX == 0 {
			return Rings{}, unix.EOPNOTSUPP
		}
		return s.Rings, nil
	})
}

func (h *handle) setRings(r Rings) error {
	return h.write("setRings", func(s *nicState) error {
		for _, q := range s.Bound {
			if q.IOUring && r.DataSplit != SplitOn {
				return unix.EINVAL
			}
		}
		if s.Driver == "mlx5_core" && r.DataSplit == SplitOn && !s.Features[FeatureHWGRO].Active {
			return unix.EINVAL
		}
		s.Rings.DataSplit = r.DataSplit
		if s.Rings.HDSThresh != nil && r.HDSThresh != nil {
			n := *r.HDSThresh
			s.Rings.HDSThresh = &n
		}
		return nil
	})
}

func (h *handle) features() (map[string]Feature, error) {
	return read(h.model, "features", func(s *nicState) (map[string]Feature, error) { return s.Features, nil })
}

func (h *handle) setFeature(name string, on bool) error {
	return h.write("setFeature", func(s *nicState) error {
		f := s.Features[name]
		if !f.Changeable {
			return nil // as the kernel does: no error
		}
		f.Active, f.Wanted = on, on
		s.Features[name] = f
		if name == FeatureRules && !on {
			clear(s.Rules)
		}
		return nil
	})
}

func (h *handle) rss() (RSS, error) {
	return read(h.model, "rss", func(s *nicState) (RSS, error) {
		if h.noRSS {
			return RSS{}, unix.EOPNOTSUPP
		}
		return RSS{Indir: s.Indir, Key: s.Key}, nil
	})
}

func (h *handle) setRSS(indir []uint32, key []byte) error {
	return h.write("setRSS", func(s *nicState) error {
		if len(indir) != len(s.Indir) || int(slices.Max(indir)) >= s.Channels.RXQueues() {
			return unix.EINVAL
		}
		s.Indir, s.Configured = slices.Clone(indir), true
		if key != nil {
			s.Key = slices.Clone(key)
		}
		return nil
	})
}

func (h *handle) resetRSS() error {
	return h.write("resetRSS", func(s *nicState) error {
		s.Indir, s.Configured = spread(len(s.Indir), s.Channels.RXQueues()), false
		if h.renewsKey {
			s.Key[0]++
		}
		return nil
	})
}

func (h *handle) contexts() ([]RSS, error) {
	return read(h.model, "contexts", func(s *nicState) (list []RSS, err error) {
		if h.noContexts {
			return nil, unix.EOPNOTSUPP
		}
		for _, id := range slices.Sorted(maps.Keys(s.Contexts)) {
			list = append(list, RSS{Context: id, Indir: s.Contexts[id]})
		}
		return list, nil
	})
}

func (h *handle) createContext(indir []uint32) (id uint32, err error) {
	err = h.write("createContext", func(s *nicState) error {
		for id = 1; s.Contexts[id] != nil; id++ {
		}
		s.Contexts[id] = slices.Clone(indir)
		return nil
	})
	return id, err
}

func (h *handle) deleteContext(id uint32) error {
	return h.write("deleteContext", func(s *nicState) error {
		if s.Contexts[id] == nil {
			return unix.ENOENT
		}
		for _, r := range s.Rules {
			if r.Context != nil && *r.Context == id {
				return unix.EBUSY
			}
		}
		delete(s.Contexts, id)
		return nil
	})
}

func (h *handle) rules() (RuleTable, error) {
	return read(h.model, "rules", func(s *nicState) (RuleTable, error) {
		t := RuleTable{Size: h.tableSize, DriverPlaces: h.driverPlaces}
		for _, location := range slices.Sorted(maps.Keys(s.Rules)) {
			t.Rules = append(t.Rules, s.Rules[location])
		}
		return t, nil
	})
}

func (h *handle) insertRule(r Rule) (location uint32, err error) {
	err = h.write("insertRule", func(s *nicState) error {
		if !s.Features[FeatureRules].Active {
			return unix.EOPNOTSUPP
		}
		if r.Queue >= s.Channels.RXQueues() || r.Context != nil && s.Contexts[*r.Context] == nil {
			return unix.EINVAL
		}
		if h.driverPlaces != (r.Location == anyLocation) {
			return unix.EINVAL
		}
		if h.driverPlaces {
			for r.Location = 100; ; r.Location++ {
				if _, used := s.Rules[r.Location]; !used {
					break
				}
			}
		} else if r.Location >= h.tableSize {
			return unix.EINVAL
		}
		location = r.Location
		s.Rules[location] = r
		return nil
	})
	return location, err
}

func (h *handle) deleteRule(location uint32) error {
	return h.write("deleteRule", func(s *nicState) error {
		if _, there := s.Rules[location]; !there {
			return unix.ENOENT
		}
		delete(s.Rules, location)
		return nil
	})
}

func (h *handle) queue(id int) (QueueState, error) {
	return read(h.model, "queue", func(s *nicState) (QueueState, error) {
		if id >= s.Channels.RXQueues() {
			return QueueState{}, unix.ENOENT
		}
		q := s.Bound[id]
		q.Queue = id
		return q, nil
	})
}

func (h *handle) queues() ([]QueueState, error) {
	return read(h.model, "queues", func(s *nicState) (list []QueueState, err error) {
		for id := range s.Channels.RXQueues() {
			q := s.Bound[id]
			q.Queue = id
			list = append(list, q)
		}
		return list, nil
	})
}

func (h *handle) queueStats(id int) (QueueStats, error) {
	return read(h.model, "queueStats", func(*nicState) (QueueStats, error) {
		received, failed, dropped := uint64(100*id), uint64(7), uint64(2)
		return QueueStats{Packets: &received, AllocFail: &failed, HWDrops: &dropped}, nil
	})
}

func (h *handle) xdpFeatures() (XDPFeatures, error) {
	return read(h.model, "xdpFeatures", func(*nicState) (XDPFeatures, error) { return XDPFeatures{}, nil })
}

// install makes the package's functions work on the model, for one test, and
// returns a directory for journals.
func (m *model) install(t *testing.T) (dir string) {
	t.Helper()
	name, index, ns, may := openDevice, openIndex, namespace, mayChange
	t.Cleanup(func() { openDevice, openIndex, namespace, mayChange = name, index, ns, may })
	open := func(ok bool) (device, error) {
		if m.gone || !ok {
			return nil, &ObstacleError{Interface: "eth7", Queue: -1, Obstacle: NoInterface, Err: unix.ENODEV}
		}
		return &handle{model: m}, nil
	}
	openDevice = func(iface string) (device, error) { return open(iface == m.snapshot().Link.Interface) }
	openIndex = func(i int) (device, error) { return open(i == m.snapshot().Link.Index) }
	namespace = func() (uint64, error) { return m.netnsID, nil }
	mayChange = func() bool { return true }
	return journalDir(t)
}

// journalDir is a directory to be made, in memory as those of /run, if there is some.
func journalDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "zctap-nic-")
	if err != nil {
		return t.TempDir() + "/journals"
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir + "/journals"
}

// unchanged checks that the NIC is as it was.
func (m *model) unchanged(t *testing.T, was nicState) {
	t.Helper()
	if now := m.snapshot(); !reflect.DeepEqual(now, was) {
		t.Errorf("the NIC is not as it was:\n%+v\nwas\n%+v", now, was)
	}
}

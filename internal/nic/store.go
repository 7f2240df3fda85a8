//go:build linux

package nic

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// place is the interface that journals are about: an index in a namespace.
type place struct {
	netns uint64
	index int
}

// A store keeps journals.
type store interface {
	// lock keeps everybody else from changing an interface by way of this store.
	lock(place) (unlock func(), err error)
	// create makes a journal that is live until it is released.
	create(header) (*journal, error)
	// list returns the journals of an interface; those that are not live have to
	// be released. What can't be read is an error beside them.
	list(place) ([]*journal, error)
	// places returns the interfaces that there are journals of, in a namespace.
	places(netns uint64) ([]int, error)
	// volatile says why nothing outlives the process, or is nil.
	volatile() error
}

// lockTimeout is how long to wait for others that change the same interface.
const lockTimeout = 30 * time.Second

// openWith opens the store of a directory, and an interface whose changes it has.
func openWith(dir string, open func() (device, error)) (store, device, error) {
	st, err := openStore(dir)
	if err != nil {
		return nil, nil, err
	}
	d, err := open()
	return st, d, err
}

// openStore returns the store for Want.JournalDir.
func openStore(dir string) (store, error) {
	if dir != "" {
		return openDir(dir)
	}
	d, err := openDir(DefaultJournalDir)
	if err != nil {
		return memory{shared, err}, nil
	}
	return d, nil
}

// dirStore keeps journals as files of a directory. A process holds a lock on
// each of its journals (F_OFD_SETLK): the kernel takes it off when the process
// ends, however it does, and no number that may be given to another process is
// needed to tell whether it lives.
type dirStore struct {
	dir string
	// fault, of tests, is called before each operation that changes the disk, and
	// ends it with its error.
	fault func(op string) error
}

func openDir(dir string) (*dirStore, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("nic: journal: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, fmt.Errorf("nic: journal: %s: %w", dir, err)
	}
	// A journal tells us what to do with an interface: nobody else may write it.
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || !trusted(&st) {
		return nil, fmt.Errorf("nic: journal: %s must be a directory that only its owner, us or root, can write: %w", dir, unix.EPERM)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return nil, fmt.Errorf("nic: journal: %s can't be written: %w", dir, err)
	}
	return &dirStore{dir: dir}, nil
}

// makeDir makes the directory of journals if there is none. What it lies in is for all to go
// through: if root has made /run/zctap, a service without root may have its /run/zctap/nic there.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func trusted(st *unix.Stat_t) bool {
	return (st.Uid == 0 || int(st.Uid) == os.Geteuid()) && st.Mode&0o022 == 0
}

func (s *dirStore) volatile() error { return nil }

func (s *dirStore) path(name string) string { return s.dir + "/" + name }

func (p place) prefix() string { return fmt.Sprintf("if%d@%x.", p.index, p.netns) }

func (s *dirStore) lock(p place) (func(), error) {
	// Somebody may have deleted it; what is in force has to be undone all the same.
	if err := makeDir(s.dir); err != nil {
		return nil, fmt.Errorf("nic: lock: %w", err)
	}
	f, err := os.OpenFile(s.path(p.prefix()+"lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("nic: lock: %w", err)
	}
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(5 * time.Millisecond) {
		err := hold(f)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) || time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("nic: another process changes the interface: %s: %w", f.Name(), err)
		}
	}
}

// hold locks a file for as long as it is open.
func hold(f *os.File) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

// held reports whether somebody else has the file locked.
func held(f *os.File) (bool, error) {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l)
	return l.Type != unix.F_UNLCK, err
}

// journals numbers those of this process.
var journals atomic.Uint64

func (s *dirStore) create(h header) (*journal, error) {
	p := place{h.NetNS, h.Index}
	for {
		name := s.path(fmt.Sprintf("%s%d.%d.journal", p.prefix(), h.PID, journals.Add(1)))
		if err := s.inject("create"); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue // of a process that had our number
		}
		if err != nil {
			return nil, fmt.Errorf("nic: journal: %w", err)
		}
		j := &journal{name: name, live: true, out: &file{s, f, name}}
		if err = hold(f); err == nil {
			err = j.write(line{Header: &h})
		}
		if err == nil {
			err = s.sync()
		}
		if err != nil {
			err = fmt.Errorf("nic: %w", errors.Join(err, j.out.remove()))
			return nil, err
		}
		return j, nil
	}
}

func (s *dirStore) inject(op string) error {
	if s.fault != nil {
		return s.fault(op)
	}
	return nil
}

// sync makes the directory's entries last.
func (s *dirStore) sync() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *dirStore) list(p place) ([]*journal, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("nic: journals: %w", err)
	}
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("nic: journals: %w", err)
	}
	var list []*journal
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), p.prefix()) || !strings.HasSuffix(e.Name(), ".journal") {
			continue
		}
		j, err := s.read(e.Name(), p, boot)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("nic: journal %s (delete it if nothing uses the interface): %w", s.path(e.Name()), err))
		}
		if j != nil {
			list = append(list, j)
		}
	}
	return list, errors.Join(errs...)
}

// places knows the interfaces by the names of files.
func (s *dirStore) places(netns uint64) ([]int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("nic: journals: %w", err)
	}
	seen := make(map[int]bool)
	var list []int
	for _, e := range entries {
		var p place
		if _, err := fmt.Sscanf(e.Name(), "if%d@%x.", &p.index, &p.netns); err != nil || p.netns != netns {
			continue
		}
		if strings.HasSuffix(e.Name(), ".journal") && !seen[p.index] {
			seen[p.index] = true
			list = append(list, p.index)
		}
	}
	return list, nil
}

// memory is a store for when no directory can be written: the journals are seen
// by this process only, and gone with it.
type memory struct {
	*memoryState
	why error
}

type memoryState struct {
	mu    sync.Mutex
	locks map[place]*sync.Mutex
	all   []*journal
}

// shared is that of the process.
var shared = new(memoryState)

func (m memory) volatile() error { return m.why }

func (m memory) lock(p place) (func(), error) {
	m.mu.Lock()
	l := m.locks[p]
	if l == nil {
		l = new(sync.Mutex)
		if m.locks == nil {
			m.locks = make(map[place]*sync.Mutex)
		}
		m.locks[p] = l
	}
	m.mu.Unlock()
	l.Lock()
	return l.Unlock, nil
}

func (m memory) create(h header) (*journal, error) {
	j := &journal{live: true}
	j.out = &memorySink{m.memoryState, j}
	if err := j.write(line{Header: &h}); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, j)
	return j, nil
}

func (m memory) list(p place) ([]*journal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*journal
	for _, j := range m.all {
		if j.header.NetNS == p.netns && j.header.Index == p.index {
			list = append(list, j)
		}
	}
	return list, nil
}

func (m memory) places(netns uint64) ([]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []int
	for _, j := range m.all {
		if j.header.NetNS == netns {
			list = append(list, j.header.Index)
		}
	}
	return list, nil
}

// memorySink is a journal of memory's. Its lines are in the journal already.
type memorySink struct {
	m *memoryState
	j *journal
}

func (s *memorySink) append([]byte) error  { return nil }
func (s *memorySink) replace([]byte) error { return nil }

func (s *memorySink) release() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.j.live = false
	return nil
}

func (s *memorySink) remove() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.j.live = false
	for i, j := range s.m.all {
		if j == s.j {
			s.m.all = append(s.m.all[:i:i], s.m.all[i+1:]...)
			break
		}
	}
	return nil
}

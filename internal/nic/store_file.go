//go:build linux

package nic

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxJournal bounds what is read of a journal: one of 10,000 flows has 3 MB.
const maxJournal = 32 << 20

// file is a journal as a file, that this process holds or that is dead.
type file struct {
	s    *dirStore
	f    *os.File
	name string
}

func (f *file) append(b []byte) error {
	if err := f.s.inject("append"); err != nil {
		return err
	}
	if _, err := f.f.Write(b); err != nil {
		return err
	}
	if err := f.s.inject("sync"); err != nil {
		return err
	}
	return f.f.Sync()
}

// replace makes a second file and puts it in the first one's place. Everybody
// who looks for dead journals has the interface's lock, as the caller has: nobody
// sees the moment between.
func (f *file) replace(b []byte) error {
	if err := f.s.inject("replace"); err != nil {
		return err
	}
	name := f.name
	if err := os.Remove(name + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	g, err := os.OpenFile(name+".new", os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err = hold(g); err == nil {
		_, err = g.Write(b)
	}
	if err == nil {
		err = g.Sync()
	}
	if err == nil {
		err = f.s.inject("rename")
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return errors.Join(err, g.Close())
	}
	old := f.f
	f.f = g
	return errors.Join(old.Close(), f.s.sync())
}

func (f *file) release() error { return f.f.Close() }

func (f *file) remove() error {
	if err := f.s.inject("remove"); err != nil {
		return errors.Join(err, f.f.Close())
	}
	err := os.Remove(f.name)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(f.name+".new"), f.f.Close())
}

// read reads a journal. One of another boot is deleted; so is one whose header
// was never written, if its process is dead. Both are (nil, nil).
func (s *dirStore) read(name string, p place, boot string) (*journal, error) {
	f, err := os.OpenFile(s.path(name), os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	j, err := s.readFile(f, p, boot)
	if err != nil || j == nil || j.live {
		err = errors.Join(err, f.Close())
	}
	return j, err
}

func (s *dirStore) readFile(f *os.File, p place, boot string) (*journal, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || !trusted(&st) {
		return nil, fmt.Errorf("not a file that only we or root can write: %w", unix.EPERM)
	}
	live, err := held(f)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxJournal {
		return nil, fmt.Errorf("more than %d bytes: %w", maxJournal, unix.EFBIG)
	}
	j, whole, err := parseJournal(b)
	if err != nil {
		return nil, err
	}
	j.name, j.live, j.size = f.Name(), live, whole
	switch {
	case live:
		return j, nil
	case j.header.Version == 0, j.header.Boot != boot:
		return nil, os.Remove(f.Name())
	case j.header.NetNS != p.netns || j.header.Index != p.index:
		return nil, errCorrupt
	}
	// What was cut short goes, before anything is added.
	if err := f.Truncate(int64(whole)); err != nil {
		return nil, err
	}
	if _, err := f.Seek(int64(whole), io.SeekStart); err != nil {
		return nil, err
	}
	j.out = &file{s, f, f.Name()}
	return j, nil
}

//go:build linux

package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// collect sends the files that the job's patterns match: in order of their
// names, folders with all that is in them, each file once. What can't be read
// is part of the error, and the rest is sent.
func (a *agent) collect(j *Job) error {
	var (
		names []string
		errs  []error
	)
	for _, pattern := range j.Collect {
		found, err := filepath.Glob(pattern)
		if err != nil {
			errs = append(errs, fmt.Errorf("collecting %s: %w", pattern, err))
		}
		for _, top := range found {
			err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				// A link named by the pattern itself is followed, one below it is not.
				fi, err := os.Stat(name)
				if err == nil && fi.Mode().IsRegular() && (d.Type().IsRegular() || name == top) {
					names = append(names, name)
				}
				return nil
			})
			if err != nil {
				errs = append(errs, fmt.Errorf("collecting %s: %w", top, err))
			}
		}
	}
	slices.Sort(names)
	room := j.MaxFiles
	for _, name := range slices.Compact(names) {
		n, err := a.sendFile(j.ID, name, room)
		if err != nil {
			errs = append(errs, fmt.Errorf("collecting %s: %w", name, err))
		}
		room -= n
	}
	return errors.Join(errs...)
}

// sendFile sends one file of room bytes at most, and returns how long it was.
// A file that shrinks meanwhile is filled up with zeros, and an error.
func (a *agent) sendFile(job uint16, name string, room int64) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var (
		from io.Reader = f
		size           = fi.Size()
		head []byte
	)
	if size == 0 {
		// Files of the kernel's do not tell their size.
		if head, err = io.ReadAll(io.LimitReader(f, MaxMessage)); err != nil {
			return 0, err
		}
		size = int64(len(head))
	}
	if size > room {
		return 0, fmt.Errorf("it has %d bytes, and the job's files may have only %d more", size, room)
	}
	if err := a.out.Message(KindFile, job, File{Path: name, Mode: uint32(fi.Mode().Perm()), Size: size}); err != nil {
		return 0, err
	}
	buf := make([]byte, MaxChunk)
	var failed error
	for left := size; left > 0; {
		chunk := buf[:min(left, int64(len(buf)))]
		switch {
		case head != nil:
			head = head[copy(chunk, head):]
		case failed == nil:
			n, err := io.ReadFull(from, chunk)
			if err != nil {
				failed = fmt.Errorf("it ends %d bytes early: %w", left-int64(n), err)
				clear(chunk[n:])
			}
		default:
			clear(chunk)
		}
		if err := a.out.Write(KindFileData, job, chunk); err != nil {
			return 0, err
		}
		left -= int64(len(chunk))
	}
	return size, failed
}

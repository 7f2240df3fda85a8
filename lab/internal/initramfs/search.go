package initramfs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A search is where the libraries of a program are looked for. All folders are
// of this machine.
type search struct {
	root       string   // without links in it
	dirs       []string // asked for
	configured []string // of ld.so.conf
	standard   []string // of the loader
}

func newSearch(from Libraries) (*search, error) {
	root := from.Root
	if root == "" {
		root = "/"
	}
	root, err := filepath.Abs(root)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, fmt.Errorf("root of its libraries: %w", err)
	}
	return &search{root: root, dirs: from.Dirs}, nil
}

// setLoader finds out where the loader of that name, in the guest, looks by
// itself: where it is, and the folders of ld.so(8).
func (s *search) setLoader(name string) error {
	dir := path.Dir(name)
	standard := []string{dir, "/usr" + dir}
	if rest, ok := strings.CutPrefix(dir, "/usr/"); ok {
		standard[1] = "/" + rest
	}
	for _, d := range append(standard, "/lib64", "/usr/lib64", "/lib", "/usr/lib") {
		s.standard = append(s.standard, filepath.Join(s.root, d))
	}
	return s.readConf("/etc/ld.so.conf", make(map[string]bool))
}

// readConf reads a file of the configuration of ldconfig(8), and those that it
// includes, each once. Names are those below the root.
func (s *search) readConf(name string, seen map[string]bool) error {
	if seen[name] {
		return nil
	}
	seen[name] = true
	f, err := os.Open(filepath.Join(s.root, name))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return nil
	case err != nil:
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r:,", r) })
		switch {
		case len(words) > 0 && words[0] == "include":
			for _, pattern := range words[1:] {
				if !path.IsAbs(pattern) {
					pattern = path.Join(path.Dir(name), pattern)
				}
				if err := s.includeConf(pattern, seen); err != nil {
					return err
				}
			}
			continue
		case len(words) > 0 && words[0] == "hwcap": // of old: not about folders
			continue
		}
		for _, w := range words {
			dir, _, _ := strings.Cut(w, "=") // DIR=TYPE
			if path.IsAbs(dir) {
				s.configured = append(s.configured, filepath.Join(s.root, path.Clean(dir)))
			}
		}
	}
	return lines.Err()
}

// includeConf reads the files that a pattern matches.
func (s *search) includeConf(pattern string, seen map[string]bool) error {
	// Of the root's own name, no character is one of a pattern.
	names, err := fs.Glob(os.DirFS(s.root), strings.TrimPrefix(path.Clean(pattern), "/"))
	if err != nil {
		return nil // a pattern that ldconfig could not read either
	}
	for _, name := range names {
		if err := s.readConf("/"+name, seen); err != nil {
			return err
		}
	}
	return nil
}

// find returns the file of a library, as it was found, and what is in it.
func (s *search) find(n needed) (string, *object, error) {
	by := n.by[0]
	if strings.Contains(n.name, "/") {
		file, err := s.inRoot(n.name)
		if err != nil {
			return "", nil, fmt.Errorf("%s, which %s needs: %w: %w", n.name, by.file, ErrLibrary, err)
		}
		library, err := readObject(file)
		return file, library, err
	}
	var looked []string
	for _, dir := range s.dirsFor(n) {
		file := filepath.Join(dir, n.name)
		library, err := readObject(file)
		var notOpened *fs.PathError
		switch {
		case err == nil && by.fits(library):
			return file, library, nil
		case err == nil, errors.As(err, &notOpened), errors.Is(err, errNotELF):
			looked = append(looked, dir)
			continue // of another architecture, not there, or a linker's script
		}
		return "", nil, err
	}
	return "", nil, fmt.Errorf("%s, which %s needs: %w in %s: install it, or name its folder",
		n.name, by.file, ErrLibrary, strings.Join(looked, ", "))
}

// dirsFor returns the folders to look for a library in, in order: "Searching for
// shared libraries" of ld.so(8).
func (s *search) dirsFor(n needed) []string {
	var dirs []string
	add := func(o *object, path []string) {
		for _, d := range path {
			if d := o.expand(d, s.root); d != "" {
				dirs = append(dirs, d)
			}
		}
	}
	if len(n.by[0].runpath) == 0 {
		for _, o := range n.by {
			if len(o.runpath) == 0 {
				add(o, o.rpath)
			}
		}
	}
	dirs = append(dirs, s.dirs...)
	add(n.by[0], n.by[0].runpath)
	dirs = append(dirs, s.configured...)
	return append(dirs, s.standard...)
}

// inRoot returns the file of a name below the root, without links in it. On a
// system of today /lib is a link to /usr/lib; a root into which packages were
// unpacked may lack it.
func (s *search) inRoot(name string) (string, error) {
	file, err := filepath.EvalSymlinks(filepath.Join(s.root, path.Clean("/"+name)))
	if errors.Is(err, fs.ErrNotExist) {
		file, err = filepath.EvalSymlinks(filepath.Join(s.root, "usr", path.Clean("/"+name)))
	}
	if err != nil {
		return "", err
	}
	if _, ok := s.below(file); !ok {
		return "", fmt.Errorf("%s is a link that leads out of %s", name, s.root)
	}
	return file, nil
}

// place returns the name in the guest of a library that was found as file, and
// the file that has its content. It gets the name that it was asked for by, in
// the folder where it really is: a library's name is often a link to another
// with a version.
func (s *search) place(file string) (name, content string, err error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return "", "", err
	}
	content, err = filepath.EvalSymlinks(file)
	if err != nil {
		return "", "", err
	}
	return s.guestName(filepath.Join(dir, filepath.Base(file))), content, nil
}

// guestName returns the name in the guest of a file without links in its name:
// that below the root, or its own if it isn't there.
func (s *search) guestName(file string) string {
	if name, ok := s.below(file); ok {
		return name
	}
	return file
}

// below returns a file's name below the root.
func (s *search) below(file string) (string, bool) {
	if s.root == "/" {
		return file, true
	}
	name, ok := strings.CutPrefix(file, s.root)
	return name, ok && strings.HasPrefix(name, "/")
}

package initramfs

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// ErrLibrary says that a library, or the loader, that a program needs was not
// found.
var ErrLibrary = errors.New("shared library not found")

// Libraries say where a program's libraries are. The zero value is this machine.
type Libraries struct {
	// Root is the folder that is the root of the file system that the program
	// is from: its loader and libraries are looked for there. Empty for /.
	Root string

	// Dirs are folders of this machine to look in first, like those of
	// LD_LIBRARY_PATH.
	Dirs []string
}

// AddProgram adds the program that is in file, of this machine, under a name.
// If it is linked dynamically, what it needs comes along: its loader, the
// libraries that it names, the ones that those name, and so on, looked for like
// ld.so(8) does. Libraries get the name that they have below their root, and
// links where the loader looks for them if that is elsewhere, so that in the
// guest it takes neither a cache of libraries nor a path.
//
// What a program opens by dlopen(3) cannot be seen; it has to be added with
// AddProgram, too, or AddFile. Nor is the interpreter of a script.
//
// An error that matches [ErrLibrary] names the library that is missing and what
// needs it. Then the image has a part of what was to be added.
func (im *Image) AddProgram(name, file string, from Libraries) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("initramfs: program %s: %w", name, err)
	}
	// Executable by all, as nothing in the guest is for somebody only.
	perm := info.Mode().Perm() | 0o555
	if err := im.AddFile(name, file, perm); err != nil {
		return err
	}
	program, err := readObject(file)
	switch {
	case errors.Is(err, errNotELF):
		return nil
	case err != nil:
		return fmt.Errorf("initramfs: program %s: %w", name, err)
	case program.loader == "":
		return nil
	}
	s, err := newSearch(from)
	if err != nil {
		return fmt.Errorf("initramfs: program %s: %w", name, err)
	}
	a := &adder{image: im, search: s}
	if err := a.addLoader(program); err != nil {
		return fmt.Errorf("initramfs: program %s: %w", name, err)
	}
	if err := a.addNeeded(program); err != nil {
		return fmt.Errorf("initramfs: program %s: %w", name, err)
	}
	return nil
}

// libraryPerm is for loader and libraries alike: the loader is often listed as a
// library, too.
const libraryPerm = 0o755

// An adder adds what one program needs.
type adder struct {
	image  *Image
	search *search

	// loaderDirs are the folders, in the guest, that the loader looks in
	// whatever it is told: where it is itself, by either name.
	loaderDirs []string
	have       map[string]bool // libraries, by the names that are asked for
}

// addLoader adds a program's loader, by the name that the program has for it and
// where it really is.
func (a *adder) addLoader(program *object) error {
	file, err := a.search.inRoot(program.loader)
	if err != nil {
		return fmt.Errorf("loader %s below %s: %w: %w", program.loader, a.search.root, ErrLibrary, err)
	}
	name := a.search.guestName(file)
	if err := a.image.AddFile(name, file, libraryPerm); err != nil {
		return err
	}
	a.loaderDirs = []string{path.Dir(name)}
	if dir := path.Dir(program.loader); dir != path.Dir(name) {
		a.loaderDirs = append(a.loaderDirs, dir)
	}
	if name != path.Clean(program.loader) {
		if err := a.link(name, program.loader); err != nil {
			return err
		}
	}
	return a.search.setLoader(name)
}

// link adds a symbolic link, if the name doesn't lead to the target already.
func (a *adder) link(target, name string) error {
	dir, err := a.image.folder(path.Dir(path.Clean("/" + name))[1:])
	if err != nil {
		return err
	}
	if "/"+path.Join(dir, path.Base(name)) == target {
		return nil
	}
	return a.image.Symlink(target, name)
}

// A needed library: its name, and which objects are its dependents, the nearest
// first. DT_RPATH is inherited along them.
type needed struct {
	name string
	by   []*object
}

// addNeeded adds the libraries that program needs, breadth first like the
// loader.
func (a *adder) addNeeded(program *object) error {
	a.have = make(map[string]bool)
	queue := neededBy(program, nil)
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if a.have[n.name] {
			continue
		}
		a.have[n.name] = true
		file, library, err := a.search.find(n)
		if err != nil {
			return err
		}
		name, content, err := a.search.place(file)
		if err != nil {
			return fmt.Errorf("library %s: %w", n.name, err)
		}
		if err := a.image.AddFile(name, content, libraryPerm); err != nil {
			return err
		}
		if path.Dir(name) != a.loaderDirs[0] && !strings.Contains(n.name, "/") {
			for _, d := range a.loaderDirs {
				if err := a.link(name, path.Join(d, n.name)); err != nil {
					return err
				}
			}
		}
		queue = append(queue, neededBy(library, n.by)...)
	}
	return nil
}

func neededBy(o *object, by []*object) []needed {
	var all []needed
	chain := slices.Concat([]*object{o}, by)
	for _, name := range o.needed {
		all = append(all, needed{name: name, by: chain})
	}
	return all
}

package initramfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// An object is what matters here of a program or a shared library.
type object struct {
	file    string // where it was found, on this machine
	machine elf.Machine
	class   elf.Class
	loader  string   // of a program that is linked dynamically
	needed  []string // DT_NEEDED
	rpath   []string // DT_RPATH, as written
	runpath []string // DT_RUNPATH, as written
}

// errNotELF says that a file is no ELF file.
var errNotELF = errors.New("no ELF file")

// loaderLimit bounds the length of a loader's name, in bytes.
const loaderLimit = pathMax

// readObject reads an ELF file.
func readObject(file string) (*object, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil || string(magic[:]) != elf.ELFMAG {
		return nil, errNotELF
	}
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	o := &object{file: file, machine: e.Machine, class: e.Class}
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(p.Open(), loaderLimit))
		if err != nil {
			return nil, fmt.Errorf("%s: name of its loader: %w", file, err)
		}
		name, _, _ = bytes.Cut(name, []byte{0})
		o.loader = string(name)
	}
	if o.needed, err = e.DynString(elf.DT_NEEDED); err != nil {
		return nil, fmt.Errorf("%s: libraries it needs: %w", file, err)
	}
	for _, path := range []struct {
		tag elf.DynTag
		to  *[]string
	}{{elf.DT_RPATH, &o.rpath}, {elf.DT_RUNPATH, &o.runpath}} {
		values, err := e.DynString(path.tag)
		if err != nil {
			return nil, fmt.Errorf("%s: its search path: %w", file, err)
		}
		for _, v := range values {
			*path.to = append(*path.to, strings.Split(v, ":")...)
		}
	}
	return o, nil
}

// fits reports whether a library can be loaded into a program with o.
func (o *object) fits(library *object) bool {
	return o.machine == library.machine && o.class == library.class
}

// expand returns a folder of a search path of o on this machine, where root is
// the root of o's file system; and "" if it can't be known.
func (o *object) expand(dir, root string) string {
	for _, origin := range []string{"$ORIGIN", "${ORIGIN}"} {
		if rest, ok := strings.CutPrefix(dir, origin); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(filepath.Dir(o.file), rest)
		}
	}
	// A relative folder is one of the process that happens to run the program;
	// $LIB and $PLATFORM are known to the loader only.
	if !filepath.IsAbs(dir) || strings.Contains(dir, "$") {
		return ""
	}
	return filepath.Join(root, filepath.Clean(dir))
}

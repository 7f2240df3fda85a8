//go:build linux

package bundle

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Module is a module of the kernel, as init_module(2) takes it.
type Module struct {
	Name string // as lsmod prints it: "gve"
	Data []byte // the ELF file, not compressed; the caller's
}

// Modules returns modules by their names, and before each those that it depends
// on: loaded one after the other, they have what they need. What is built into
// the kernel is left out. The error for a name that the kernel doesn't have
// matches [ErrNoModule].
func (b *Bundle) Modules(ctx context.Context, names ...string) ([]Module, error) {
	b.modulesOnce.Do(func() { b.modules, b.modulesErr = indexModules(filepath.Join(b.kernel, "modules")) })
	if b.modulesErr != nil {
		return nil, fmt.Errorf("lab: looking for the modules of kernel %s: %w", b.release, b.modulesErr)
	}
	l := moduleLoader{bundle: b, have: make(map[string]bool)}
	for _, name := range names {
		if err := l.add(ctx, name); err != nil {
			return nil, fmt.Errorf("lab: module %s of kernel %s: %w", name, b.release, err)
		}
	}
	return l.modules, nil
}

// A moduleIndex says what modules a kernel has.
type moduleIndex struct {
	files   map[string]string // file name by name
	builtin map[string]bool
}

// indexModules reads the folder of a kernel's modules: the tree kernel/, and
// modules.builtin, which lists what the tree does not hold.
func indexModules(dir string) (*moduleIndex, error) {
	ix := &moduleIndex{files: make(map[string]string), builtin: make(map[string]bool)}
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), ".ko") {
			ix.files[moduleName(path)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, "modules.builtin"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ix, nil // then all that is asked for has to be in the tree
	case err != nil:
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		ix.builtin[moduleName(lines.Text())] = true
	}
	return ix, lines.Err()
}

// moduleName returns the name of the module in a file: for that, and in what
// depends on it, a dash is an underscore.
func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// A moduleLoader collects modules in the order in which they are to be loaded.
type moduleLoader struct {
	bundle  *Bundle
	modules []Module
	have    map[string]bool // also those on the way, for what depends on itself
}

func (l *moduleLoader) add(ctx context.Context, name string) error {
	name = moduleName(name)
	if l.have[name] || l.bundle.modules.builtin[name] {
		return nil
	}
	l.have[name] = true
	file, ok := l.bundle.modules.files[name]
	if !ok {
		return ErrNoModule
	}
	data, err := l.bundle.readModule(ctx, file)
	if err != nil {
		return err
	}
	depends, err := moduleDepends(data)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	for _, d := range depends {
		if err := l.add(ctx, d); err != nil {
			return fmt.Errorf("depends on %s: %w", d, err)
		}
	}
	l.modules = append(l.modules, Module{Name: name, Data: data})
	return nil
}

// moduleDepends returns the names of the modules that one needs, from what
// modinfo(8) prints: the section .modinfo, with strings key=value between zero
// bytes.
func moduleDepends(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no section .modinfo: not a module")
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("section .modinfo: %w", err)
	}
	var names []string
	for _, entry := range strings.Split(string(info), "\x00") {
		if value, ok := strings.CutPrefix(entry, "depends="); ok {
			names = append(names, strings.FieldsFunc(value, func(r rune) bool { return r == ',' })...)
		}
	}
	return names, nil
}

// moduleLimit bounds the size of a module, in bytes. The largest are some
// megabytes.
const moduleLimit = 256 << 20

// readModule returns the content of a module's file, not compressed.
func (b *Bundle) readModule(ctx context.Context, file string) ([]byte, error) {
	switch filepath.Ext(file) {
	case ".ko":
		return os.ReadFile(file)
	case ".xz":
		cmd, err := b.Command(ctx, "xz", "--decompress", "--stdout", file)
		if err != nil {
			return nil, err
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		data, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("xz: %w: %s", err, stderr.String())
		}
		return data, nil
	case ".gz":
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r, err := gzip.NewReader(f)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, moduleLimit))
	}
	return nil, fmt.Errorf("%s: %w: not a way of compression that Debian's kernels have", filepath.Base(file), errors.ErrUnsupported)
}

//go:build linux

package lab

import (
	"bufio"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zctap/zctap/lab/internal/bundle"
	"github.com/zctap/zctap/lab/internal/guest"
	"github.com/zctap/zctap/lab/internal/initramfs"
)

// writeInitramfs writes the guest's file system to a file.
func (m *Machine) writeInitramfs(ctx context.Context, b *bundle.Bundle, file string, config guest.Config) error {
	im := new(initramfs.Image)
	for _, add := range []func() error{
		func() error { return addSkeleton(im) },
		func() error { return m.addAgent(im) },
		func() (err error) { config.Modules, err = addModules(ctx, im, b, m.Modules); return err },
		func() error { return addTools(ctx, im, b, m.Tools) },
		func() error { return addFiles(im, m.Files) },
		func() error { return addConfig(im, config) },
		func() error { return addApplets(ctx, im, b, m.Tools) },
	} {
		if err := add(); err != nil {
			return fmt.Errorf("lab: making the guest's file system: %w", err)
		}
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("lab: making the guest's file system: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	_, err = im.WriteTo(w)
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("lab: making the guest's file system: %w", err)
	}
	return nil
}

// addSkeleton adds what is there before anything is mounted: the console that
// the kernel opens for its first process, and folders as on Debian.
func addSkeleton(im *initramfs.Image) error {
	for _, dir := range []string{"usr/bin", "usr/sbin", "usr/lib", "usr/lib64"} {
		if err := im.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := im.Symlink(dir, path.Base(dir)); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		name         string
		major, minor uint32
	}{{"dev/console", 5, 1}, {"dev/null", 1, 3}} {
		if err := im.Device(d.name, initramfs.ModeChar|0o600, d.major, d.minor); err != nil {
			return err
		}
	}
	return nil
}

// addAgent adds the guest's first process.
func (m *Machine) addAgent(im *initramfs.Image) error {
	program := m.Agent
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return err
		}
	}
	return im.AddProgram("init", program, initramfs.Libraries{})
}

// addModules adds kernel modules, and returns their names in the guest.
func addModules(ctx context.Context, im *initramfs.Image, b *bundle.Bundle, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	modules, err := b.Modules(ctx, names...)
	if err != nil {
		return nil, err
	}
	var files []string
	for i, mod := range modules {
		file := fmt.Sprintf("/lab/modules/%03d-%s.ko", i, mod.Name)
		if err := im.WriteFile(file, mod.Data, 0o644); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// addTools adds programs of the bundle. Those that are linked against the
// bundle's libraries, which may be others than those of this machine's programs,
// are kept apart with them: the agent starts them (guest.ToolsDir).
func addTools(ctx context.Context, im *initramfs.Image, b *bundle.Bundle, names []string) error {
	for _, name := range names {
		file, err := b.Tool(name)
		if err != nil {
			return err
		}
		libraries, err := closure(file, b.LibraryDirs())
		if err != nil {
			return fmt.Errorf("tool %s: %w", name, err)
		}
		if len(libraries) == 0 {
			err = im.AddFile("usr/bin/"+name, file, 0o755)
		} else {
			err = errors.Join(im.AddFile(guest.ToolsDir+"/bin/"+name, file, 0o755), im.Symlink("/init", "usr/bin/"+name))
		}
		for _, l := range libraries {
			err = errors.Join(err, im.AddFile(guest.ToolsDir+"/lib/"+filepath.Base(l), l, 0o755))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// closure returns the files of the libraries that a program is linked against,
// its loader first, and those that these are; nothing if it is static.
func closure(file string, dirs []string) ([]string, error) {
	queue := []string{guest.Loader}
	var files []string
	for i, object := 0, file; ; i++ {
		f, err := elf.Open(object)
		if err != nil {
			return nil, err
		}
		names, err := f.ImportedLibraries()
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if i == 0 && len(names) == 0 {
			return nil, nil
		}
		for _, name := range names {
			if !slices.Contains(queue, name) {
				queue = append(queue, name)
			}
		}
		if i == len(queue) {
			return files, nil
		}
		at := slices.IndexFunc(dirs, func(dir string) bool {
			_, err := os.Stat(filepath.Join(dir, queue[i]))
			return err == nil
		})
		if at < 0 {
			return nil, fmt.Errorf("%s needs %s, which is not in the bundle: %w", filepath.Base(object), queue[i], fs.ErrNotExist)
		}
		object = filepath.Join(dirs[at], queue[i])
		files = append(files, object)
	}
}

// addApplets adds the names that busybox goes by, but for those that are taken.
func addApplets(ctx context.Context, im *initramfs.Image, b *bundle.Bundle, tools []string) error {
	if !slices.Contains(tools, "busybox") {
		return nil
	}
	cmd, err := b.Command(ctx, "busybox", "--list")
	if err != nil {
		return err
	}
	list, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("busybox --list: %w", err)
	}
	for _, applet := range strings.Fields(string(list)) {
		err := im.Symlink("busybox", "usr/bin/"+applet)
		if err != nil && !errors.Is(err, initramfs.ErrExists) {
			return err
		}
	}
	return nil
}

// addFiles adds what the caller wants.
func addFiles(im *initramfs.Image, files []File) error {
	for _, f := range files {
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
			if f.Source != "" {
				info, err := os.Stat(f.Source)
				if err != nil {
					return err
				}
				mode = info.Mode().Perm()
			}
		}
		var err error
		switch {
		case f.Program:
			err = im.AddProgram(f.Path, f.Source, initramfs.Libraries{})
		case f.Source != "":
			err = im.AddFile(f.Path, f.Source, mode)
		default:
			err = im.WriteFile(f.Path, f.Data, mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addConfig adds what the agent is to know.
func addConfig(im *initramfs.Image, config guest.Config) error {
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return im.WriteFile(guest.ConfigPath, text, 0o600)
}

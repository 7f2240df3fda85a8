package initramfs

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
)

// ErrExists says that a name is taken by something else.
var ErrExists = errors.New("is there already, and something else")

// maxLinks bounds the links that are followed in a name, like the kernel does
// (path_resolution(7)).
const maxLinks = 40

// An Image is what is to be in an archive. Its zero value is empty. It must not
// be used by several goroutines at once.
//
// Names are those in the guest, absolute or from its root. Folders on the way to
// a name are made if they are not there, and links that the image has on the way
// are followed. To add the same thing again changes nothing; another thing of
// the same name is an error that matches [ErrExists].
type Image struct {
	entries map[string]entry // by name, without a slash in front
}

// An entry is what has a name in an Image. Two that are == are the same.
type entry struct {
	mode         uint32
	data         string // content, or target of a link
	file         string // or where the content is, on this machine
	major, minor uint32
}

// Mkdir adds a folder.
func (im *Image) Mkdir(name string, perm fs.FileMode) error {
	return im.add(name, entry{mode: ModeDir | uint32(perm.Perm())})
}

// WriteFile adds a file with the content data, which is copied.
func (im *Image) WriteFile(name string, data []byte, perm fs.FileMode) error {
	if int64(len(data)) > math.MaxUint32 {
		return fmt.Errorf("initramfs: %s: %w: %d bytes", name, ErrTooLarge, len(data))
	}
	return im.add(name, entry{mode: ModeRegular | uint32(perm.Perm()), data: string(data)})
}

// AddFile adds a file with the content that file, of this machine, has when the
// image is written.
func (im *Image) AddFile(name, file string, perm fs.FileMode) error {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return fmt.Errorf("initramfs: %s: %w", name, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("initramfs: %s: %s is no regular file: %w", name, file, fs.ErrInvalid)
	case info.Size() > math.MaxUint32:
		return fmt.Errorf("initramfs: %s: %s: %w: %d bytes", name, file, ErrTooLarge, info.Size())
	}
	return im.add(name, entry{mode: ModeRegular | uint32(perm.Perm()), file: file})
}

// Symlink adds a link of the given name to target, which need not exist.
func (im *Image) Symlink(target, name string) error {
	if !validName(target) {
		return fmt.Errorf("initramfs: target %.100q of %s: %w", target, name, ErrName)
	}
	return im.add(name, entry{mode: ModeSymlink | 0o777, data: target})
}

// Device adds a device with its numbers, as mknod(2) does: mode is one of
// ModeChar and ModeBlock, with permissions.
func (im *Image) Device(name string, mode, major, minor uint32) error {
	if t := mode & ModeType; t != ModeChar && t != ModeBlock {
		return fmt.Errorf("initramfs: %s: mode %#o is of no device: %w", name, mode, fs.ErrInvalid)
	}
	return im.add(name, entry{mode: mode, major: major, minor: minor})
}

// add puts e where name leads to.
func (im *Image) add(name string, e entry) error {
	if im.entries == nil {
		im.entries = make(map[string]entry)
	}
	clean := path.Clean("/" + name)[1:]
	if clean == "" && e.mode&ModeType == ModeDir {
		return nil // the root is always there
	}
	if !validName(clean) || clean == trailer {
		return fmt.Errorf("initramfs: %.100q: %w", name, ErrName)
	}
	dir, base := path.Split(clean)
	dir, err := im.folder(dir)
	if err != nil {
		return fmt.Errorf("initramfs: %s: %w", name, err)
	}
	clean = path.Join(dir, base)
	old, taken := im.entries[clean]
	switch {
	case !taken, old == e:
		im.entries[clean] = e
	case e.mode&ModeType == ModeDir && old.mode&ModeType == ModeDir:
		im.entries[clean] = e // made on the way to something, with other permissions
	default:
		return fmt.Errorf("initramfs: %s: %w", name, ErrExists)
	}
	return nil
}

// folder returns the name that a folder has when the links of the image are
// followed, and makes the folder.
func (im *Image) folder(name string) (string, error) {
	const perm = 0o755
	at, links := "", 0
	rest := name
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			if at = path.Dir(at); at == "." {
				at = ""
			}
			continue
		}
		next := path.Join(at, part)
		e, ok := im.entries[next]
		switch {
		case !ok:
			if !validName(next) {
				return "", fmt.Errorf("%.100q: %w", next, ErrName)
			}
			im.entries[next] = entry{mode: ModeDir | perm}
			at = next
		case e.mode&ModeType == ModeDir:
			at = next
		case e.mode&ModeType == ModeSymlink:
			if links++; links > maxLinks {
				return "", fmt.Errorf("%s: too many links", name)
			}
			if path.IsAbs(e.data) {
				at = ""
			}
			rest = e.data + "/" + rest
		default:
			return "", fmt.Errorf("%s is no folder: %w", next, ErrExists)
		}
	}
	return at, nil
}

// WriteTo writes the image as an archive to w, and returns how many bytes it
// wrote. An image may be written more than once.
func (im *Image) WriteTo(w io.Writer) (int64, error) {
	counted := &countingWriter{w: w}
	archive := NewWriter(counted)
	for _, name := range slices.Sorted(maps.Keys(im.entries)) { // folders come before what is in them
		if err := im.entries[name].write(archive, name); err != nil {
			return counted.n, err
		}
	}
	return counted.n, archive.Close()
}

// WriteGzip writes the image as WriteTo does, compressed, which the kernel knows
// by itself. The guest takes longer to unpack it; what is gained is disk space.
func (im *Image) WriteGzip(w io.Writer) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	if _, err := im.WriteTo(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("initramfs: writing the archive: %w", err)
	}
	return nil
}

// write writes the entry, whose content may be in a file.
func (e entry) write(w *Writer, name string) error {
	h := Header{Name: name, Mode: e.mode, Size: int64(len(e.data)), Major: e.major, Minor: e.minor}
	content := io.Reader(strings.NewReader(e.data))
	if e.file != "" {
		f, err := os.Open(e.file)
		if err != nil {
			return fmt.Errorf("initramfs: %s: %w", name, err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("initramfs: %s: %w", name, err)
		}
		h.Size, content = info.Size(), f
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	// No more than was announced: a file may grow meanwhile.
	if _, err := io.CopyN(w, content, h.Size); errors.Is(err, io.EOF) {
		return fmt.Errorf("initramfs: %s: %s became shorter while it was read: %w", name, e.file, io.ErrUnexpectedEOF)
	} else if err != nil {
		return err
	}
	return nil
}

// A countingWriter counts what goes through it.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

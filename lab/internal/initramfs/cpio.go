package initramfs

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Types of files and bits of their modes, as in st_mode (inode(7)).
const (
	ModeType    = 0o170000
	ModeDir     = 0o040000
	ModeRegular = 0o100000
	ModeSymlink = 0o120000
	ModeChar    = 0o020000
	ModeBlock   = 0o060000
	ModeFIFO    = 0o010000
	ModePerm    = 0o007777
)

// pathMax is PATH_MAX of Linux: the kernel passes over names and targets of
// links that are longer, with their zero byte.
const pathMax = 4096

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

// Errors that are matched by those of [Writer] and [Image].
var (
	// ErrTooLarge says that a file is larger than the format has digits for,
	// which is 4 GiB less one byte.
	ErrTooLarge = errors.New("too large for a cpio archive")

	// ErrName says that a name, or the target of a link, is empty, too long or
	// holds a zero byte.
	ErrName = errors.New("not a name for a cpio archive")
)

// A Header describes one entry. Times, owners and inode numbers are the
// writer's: see the package documentation.
type Header struct {
	Name         string // without a slash in front
	Mode         uint32 // type and permissions
	Size         int64  // of the content, in bytes; of a link, its target's
	Major, Minor uint32 // of a device
}

// A Writer writes a cpio archive of the format "newc", without checksums, entry
// by entry. The first error stays.
type Writer struct {
	w       io.Writer
	left    int64 // of the current entry's content
	padding int   // after it
	inode   uint32
	err     error
}

// NewWriter returns a Writer to w, which it does not close.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// WriteHeader begins an entry. As many bytes of content as the header says have
// to follow by Write before the next one.
func (w *Writer) WriteHeader(h Header) error {
	if err := checkHeader(h); err != nil {
		if w.err == nil {
			w.err = err
		}
		return err
	}
	w.inode++
	return w.begin(h, w.inode)
}

func checkHeader(h Header) error {
	switch {
	case !validName(h.Name), h.Name == trailer:
		return fmt.Errorf("initramfs: %.100q: %w", h.Name, ErrName)
	case h.Size < 0:
		return fmt.Errorf("initramfs: %.100q: size %d is negative", h.Name, h.Size)
	case h.Size > math.MaxUint32:
		return fmt.Errorf("initramfs: %.100q: %w: %d bytes", h.Name, ErrTooLarge, h.Size)
	case h.Mode&ModeType == ModeSymlink && (h.Size == 0 || h.Size >= pathMax):
		return fmt.Errorf("initramfs: %.100q: target of %d bytes: %w", h.Name, h.Size, ErrName)
	}
	return nil
}

func validName(name string) bool {
	return name != "" && len(name) < pathMax && !strings.Contains(name, "\x00")
}

// begin writes a header: 6 bytes of magic, 13 numbers of 8 hexadecimal digits,
// the name with a zero byte, and zeros up to a multiple of 4 bytes.
func (w *Writer) begin(h Header, inode uint32) error {
	if w.err == nil && w.left > 0 {
		w.err = fmt.Errorf("initramfs: %d bytes are missing before %.100q", w.left, h.Name)
	}
	w.pad(w.padding)
	if w.err != nil {
		return w.err
	}
	links := 1
	if h.Mode&ModeType == ModeDir {
		links = 2
	}
	const uid, gid, mtime, major, minor, check = 0, 0, 0, 0, 0, 0
	n, err := fmt.Fprintf(w.w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		inode, h.Mode, uid, gid, links, mtime, h.Size, major, minor, h.Major, h.Minor, len(h.Name)+1, check, h.Name)
	w.fail(err)
	w.pad(-n & 3)
	w.left, w.padding = h.Size, int(-h.Size&3)
	return w.err
}

var zeros [4]byte

func (w *Writer) pad(n int) {
	if w.err == nil && n > 0 {
		_, err := w.w.Write(zeros[:n])
		w.fail(err)
	}
}

func (w *Writer) fail(err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("initramfs: writing the archive: %w", err)
	}
}

// Write writes content of the current entry. What is more than its header says
// is an error, and not written.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	excess := int64(len(p)) > w.left
	if excess {
		p = p[:w.left]
	}
	n, err := w.w.Write(p)
	w.left -= int64(n)
	w.fail(err)
	if w.err == nil && excess {
		w.err = errors.New("initramfs: an entry has more content than its header says")
	}
	return n, w.err
}

// Close ends the archive. The length of what was written is then a multiple of 4
// bytes, so that another archive may follow in the same file.
func (w *Writer) Close() error {
	if w.err == errClosed {
		return nil
	}
	if err := w.begin(Header{Name: trailer}, 0); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

// errClosed is the error of a Writer whose archive has ended.
var errClosed = errors.New("initramfs: the archive has ended")

//go:build linux

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// pageFrames collects the page frames of physical memory that views lie in, by
// /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst): with those that
// a NIC says that it wrote, the proof that nothing was copied. It needs
// CAP_SYS_ADMIN: others read zeros there.
type pageFrames struct {
	pagemap *os.File
	page    uintptr
	seen    map[uintptr]bool // by virtual page number
	frames  []uint64
}

const (
	pagemapEntry   = 8       // bytes
	pagemapPresent = 1 << 63 // the page is in memory
	pagemapFrame   = 1<<55 - 1
)

func newPageFrames() (*pageFrames, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	return &pageFrames{pagemap: f, page: uintptr(os.Getpagesize()), seen: map[uintptr]bool{}}, nil
}

// sink is a sink that takes note of where the views lie.
func (p *pageFrames) sink(views [][]byte) error {
	for _, v := range views {
		if len(v) == 0 {
			continue
		}
		first := addressOf(v) / p.page
		last := (addressOf(v) + uintptr(len(v)) - 1) / p.page
		for n := first; n <= last; n++ {
			if err := p.note(n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pageFrames) note(page uintptr) error {
	if p.seen[page] {
		return nil
	}
	p.seen[page] = true
	var b [pagemapEntry]byte
	if _, err := p.pagemap.ReadAt(b[:], int64(page)*pagemapEntry); err != nil {
		return fmt.Errorf("page frames: %w", err)
	}
	entry := binary.NativeEndian.Uint64(b[:])
	if entry&pagemapPresent == 0 || entry&pagemapFrame == 0 {
		return errors.New("page frames: the kernel does not tell them; that needs CAP_SYS_ADMIN")
	}
	p.frames = append(p.frames, entry&pagemapFrame)
	return nil
}

// write ends the collection and writes the frame numbers to a file, 8 bytes
// each, little-endian.
func (p *pageFrames) write(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = binary.Write(w, binary.LittleEndian, p.frames)
	return errors.Join(err, w.Flush(), f.Close(), p.pagemap.Close())
}

// readFrames reads what write wrote.
func readFrames(r io.Reader) ([]uint64, error) {
	b, err := io.ReadAll(r)
	if err == nil && len(b)%8 != 0 {
		err = fmt.Errorf("page frames: %d bytes", len(b))
	}
	if err != nil {
		return nil, err
	}
	frames := make([]uint64, len(b)/8)
	_, err = binary.Decode(b, binary.LittleEndian, frames)
	return frames, err
}

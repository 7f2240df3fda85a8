//go:build linux

package zctap_test

import (
	"encoding/binary"
	"os"
	"testing"
)

// pageFrames tells the page frames of physical memory that this process has its pages
// in, by /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst).
type pageFrames struct {
	testing.TB
	file   *os.File
	frames map[int64]uint64 // by page, of those that were asked for: they are pinned
}

func newPageFrames(t testing.TB) *pageFrames {
	t.Helper()
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &pageFrames{t, f, map[int64]uint64{}}
}

// of lists those that b lies in.
func (p *pageFrames) of(b []byte) (frames []uint64) {
	p.Helper()
	if len(b) == 0 {
		return nil
	}
	const entry, present, frame = 8, 1 << 63, 1<<55 - 1
	size := int64(os.Getpagesize())
	at := int64(addressOf(b))
	for page := at / size; page <= (at+int64(len(b))-1)/size; page++ {
		f, ok := p.frames[page]
		if !ok {
			var e [entry]byte
			if _, err := p.file.ReadAt(e[:], page*entry); err != nil {
				p.Fatal(err)
			}
			v := binary.NativeEndian.Uint64(e[:])
			if f = v & frame; v&present == 0 || f == 0 {
				p.Fatalf("the kernel does not tell the frame of page %#x: %#x", page, v)
			}
			p.frames[page] = f
		}
		frames = append(frames, f)
	}
	return frames
}

//go:build linux

package vfiouser

import (
	"fmt"
	"math/bits"
)

// MSI-X, PCI Local Bus Specification 3.0, section 6.8.2.
const (
	msixTableEntry = 16 // bytes of a vector in the table
	msixMaxVectors = 2048
)

// A window is a part of a BAR.
type window struct {
	bar       int
	off, size uint64
}

// overlaps reports whether n bytes at off of a BAR are, one at least, in w.
func (w *window) overlaps(bar int, off, n uint64) bool {
	return bar == w.bar && off < w.off+w.size && w.off < off+n
}

// holds reports whether all of them are.
func (w *window) holds(bar int, off, n uint64) bool {
	return bar == w.bar && off >= w.off && off+n <= w.off+w.size
}

// table and pba return where the MSI-X table and the pending bits are.
func (i *Info) table() window {
	return window{bar: i.TableBAR, off: uint64(i.TableOffset), size: uint64(i.Vectors) * msixTableEntry}
}

func (i *Info) pba() window {
	return window{bar: i.PBABAR, off: uint64(i.PBAOff), size: uint64(i.Vectors+63) / 64 * 8}
}

// check fails if no PCI device can be so.
func (i *Info) check() error {
	if i.Class >= 1<<24 {
		return fmt.Errorf("class %#x has more than 24 bits", i.Class)
	}
	for n, size := range i.BARs {
		// 16 bytes is the least that a memory BAR can ask for, 2 GiB the most
		// that a 32-bit one can.
		if size != 0 && (bits.OnesCount64(size) != 1 || size < 16 || size > 1<<31) {
			return fmt.Errorf("BAR %d has %d bytes, not a power of two from 16 to 2 GiB", n, size)
		}
	}
	if i.Vectors == 0 {
		return nil
	}
	if i.Vectors < 0 || i.Vectors > msixMaxVectors {
		return fmt.Errorf("%d MSI-X vectors, %d at most", i.Vectors, msixMaxVectors)
	}
	table, pba := i.table(), i.pba()
	for _, w := range []window{table, pba} {
		if w.bar < 0 || w.bar >= numBARs || w.off%8 != 0 || w.off+w.size > i.BARs[w.bar] {
			return fmt.Errorf("%d bytes of MSI-X at offset %#x of BAR %d, which has not room for them on 8 bytes", w.size, w.off, w.bar)
		}
	}
	if table.overlaps(pba.bar, pba.off, pba.size) {
		return fmt.Errorf("MSI-X table and pending bits overlap in BAR %d", pba.bar)
	}
	return nil
}

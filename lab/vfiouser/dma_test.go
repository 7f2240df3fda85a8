//go:build linux

package vfiouser_test

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/lab/vfiouser/vfiousertest"
)

const ram = 0x4000_0000 // where the tests have guest memory

// TestDMA: the device and the guest see the same bytes.
func TestDMA(t *testing.T) {
	noNewFDs(t)
	c := vfiousertest.Start(t, newDevice())
	m := mustMap(t, c, ram, 1<<16)
	copy(m.Bytes[100:], []byte{1, 2, 3, 4})
	if sum, err := do(c, doSum, ram+98, 10, 0); err != nil || sum != 10 {
		t.Errorf("the device has read a sum of %d, %v; want 10", sum, err)
	}
	if _, err := do(c, doFill, ram+4094, 4, 0xa5); err != nil {
		t.Fatal(err)
	}
	if got, want := m.Bytes[4093:4099], []byte{0, 0xa5, 0xa5, 0xa5, 0xa5, 0}; !bytes.Equal(got, want) {
		t.Errorf("the device has written %x, want %x", got, want)
	}
	if _, err := do(c, doStore, ram+0x1000, 0, 0x11223344); err != nil {
		t.Fatal(err)
	}
	if got := m.Load32(0x1000); got != 0x11223344 {
		t.Errorf("the device has stored %#x", got)
	}
	if got, want := m.Bytes[0x1000:0x1004], []byte{0x44, 0x33, 0x22, 0x11}; !bytes.Equal(got, want) {
		t.Errorf("the device has stored %x, want %x", got, want)
	}
	m.Store32(0xfffc, 0x55667788)
	if v, err := do(c, doLoad, ram+0xfffc, 0, 0); err != nil || v != 0x55667788 {
		t.Errorf("the device has loaded %#x, %v", v, err)
	}
}

// TestDMAAddress: which addresses are guest memory.
func TestDMAAddress(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	mustMap(t, c, ram, 1<<16)
	mustMap(t, c, ram+1<<16, 1<<12) // right behind
	top := mustMap(t, c, math.MaxUint64-0xfff, 1<<12)
	const rom = 0xc0000
	if _, err := c.Do(vfiousertest.CmdDMAMap, vfiousertest.MapBody(vfiousertest.MapRead, 0, rom, 0x20000)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		addr uint64
		n    int
		want unix.Errno
	}{
		{"all of it", ram, 1 << 16, 0},
		{"no bytes", ram, 0, 0},
		{"no bytes nowhere", ram - 1, 0, unix.EFAULT},
		{"the last byte", ram + 0xffff, 1, 0},
		{"two mappings", ram + 0xffff, 2, unix.EFAULT},
		{"the other mapping", ram + 0x10000, 1 << 12, 0},
		{"before", ram - 1, 2, unix.EFAULT},
		{"behind", ram + 0x11000, 1, unix.EFAULT},
		{"too long", ram + 0x10000, math.MaxInt32, unix.EFAULT},
		{"a negative length", ram, -1, unix.EFAULT},
		{"address 0", 0, 1, unix.EFAULT},
		{"no descriptor", rom, 1, unix.EFAULT},
		{"the last address", math.MaxUint64, 1, 0},
		{"wraps around", math.MaxUint64, 2, unix.EFAULT},
	} {
		_, err := do(c, doFill, tt.addr, tt.n, 7)
		wantErrno(t, tt.name, err, tt.want)
	}
	if got := top.Bytes[0xfff]; got != 7 {
		t.Errorf("the byte at the last address is %d", got)
	}
	for _, command := range []uint32{doLoad, doStore} {
		for _, tt := range []struct {
			addr uint64
			want unix.Errno
		}{
			{ram + 0xfffc, 0},
			{ram + 2, unix.EFAULT}, {ram + 1, unix.EFAULT}, {ram + 0xffff, unix.EFAULT},
			{ram - 4, unix.EFAULT}, {rom, unix.EFAULT}, {math.MaxUint64 - 3, 0},
		} {
			_, err := do(c, command, tt.addr, 0, 0)
			wantErrno(t, "a word", err, tt.want)
		}
	}
}

// TestDMAReadOnly: memory shared for reading. A store is refused.
func TestDMAReadOnly(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	fd := memfd(t, 4096)
	if _, err := unix.Pwrite(fd, []byte{5, 6}, 0); err != nil {
		t.Fatal(err)
	}
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	body := func(flags uint32) []byte { return vfiousertest.MapBody(flags, 0, ram, 4096) }
	_, err = c.Do(vfiousertest.CmdDMAMap, body(vfiousertest.MapRead|vfiousertest.MapWrite), int(ro.Fd()))
	wantErrno(t, "writable memory of a read-only file", err, unix.EACCES)
	if _, err = c.Do(vfiousertest.CmdDMAMap, body(vfiousertest.MapRead), int(ro.Fd())); err != nil {
		t.Fatal(err)
	}
	if sum, err := do(c, doSum, ram, 4096, 0); err != nil || sum != 11 {
		t.Errorf("sum %d, %v; want 11", sum, err)
	}
	_, err = do(c, doStore, ram, 0, 1)
	wantErrno(t, "store", err, unix.EFAULT)
	if sum, err := do(c, doSum, ram, 4096, 0); err != nil || sum != 11 {
		t.Errorf("sum %d, %v; want 11", sum, err)
	}
}

// TestDMAOffset: a mapping of the middle of a file.
func TestDMAOffset(t *testing.T) {
	c := vfiousertest.Start(t, newDevice())
	fd := memfd(t, 3<<12)
	if _, err := unix.Pwrite(fd, []byte{9}, 2<<12); err != nil {
		t.Fatal(err)
	}
	_, err := c.Do(vfiousertest.CmdDMAMap, vfiousertest.MapBody(vfiousertest.MapRead, 1<<12, ram, 2<<12), fd)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := do(c, doSum, ram+1<<12, 1, 0); err != nil || sum != 9 {
		t.Errorf("sum %d, %v; want 9", sum, err)
	}
}

func TestDMAMapErrors(t *testing.T) {
	noNewFDs(t)
	c := vfiousertest.Start(t, newDevice())
	mustMap(t, c, ram, 1<<16)
	file := memfd(t, 1<<16)
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(null) })
	const rw = vfiousertest.MapRead | vfiousertest.MapWrite
	const free = 2 * ram
	mappings := guestMappings(t)
	body := vfiousertest.MapBody
	for _, tt := range []struct {
		name string
		body []byte
		fds  []int
		want unix.Errno
	}{
		{"the same again", body(rw, 0, ram, 1<<16), []int{file}, unix.EEXIST},
		{"its first page", body(rw, 0, ram, 1<<12), []int{file}, unix.EEXIST},
		{"its last page and more", body(rw, 0, ram+0xf000, 1<<16), []int{file}, unix.EEXIST},
		{"more before and its first page", body(rw, 0, ram-0xf000, 1<<16), []int{file}, unix.EEXIST},
		{"all around it", body(rw, 0, ram-0x1000, 1<<17), nil, unix.EEXIST},
		{"overlap without a descriptor", body(rw, 0, ram, 1<<12), nil, unix.EEXIST},
		{"no bytes", body(rw, 0, free, 0), []int{file}, unix.EINVAL},
		{"no bytes without a descriptor", body(rw, 0, free, 0), nil, unix.EINVAL},
		{"wraps around", body(rw, 0, math.MaxUint64-0xfff, 1<<13), []int{file}, unix.EINVAL},
		{"all addresses and more", body(rw, 0, 1<<13, math.MaxUint64-0xfff), nil, unix.EINVAL},
		{"address between pages", body(rw, 0, free+1, 1<<12), []int{file}, unix.EINVAL},
		{"size between pages", body(rw, 0, free, 100), []int{file}, unix.EINVAL},
		{"offset between pages", body(rw, 100, free, 1<<12), []int{file}, unix.EINVAL},
		{"past the file's end", body(rw, 1<<12, free, 1<<16), []int{file}, unix.EINVAL},
		{"offset behind the file's end", body(rw, 1<<40, free, 1<<12), []int{file}, unix.EINVAL},
		{"offset that wraps around", body(rw, math.MaxUint64-0xfff, free, 1<<13), []int{file}, unix.EINVAL},
		{"negative offset", body(rw, 1<<63, free, 1<<12), []int{file}, unix.EINVAL},
		{"no access", body(0, 0, free, 1<<12), []int{file}, unix.EINVAL},
		{"unknown flags", body(rw|4, 0, free, 1<<12), []int{file}, unix.EINVAL},
		{"two descriptors", body(rw, 0, free, 1<<12), []int{file, file}, unix.EINVAL},
		{"a device file", body(rw, 0, free, 1<<12), []int{null}, unix.EINVAL},
		{"short", body(rw, 0, free, 1<<12)[:31], []int{file}, unix.EINVAL},
		{"long", append(body(rw, 0, free, 1<<12), 0), []int{file}, unix.EINVAL},
		{"argsz too small", append(words(31), body(rw, 0, free, 1<<12)[4:]...), []int{file}, unix.EINVAL},
		{"nothing", nil, []int{file, file, file}, unix.EINVAL},
	} {
		_, err := c.Do(vfiousertest.CmdDMAMap, tt.body, tt.fds...)
		wantErrno(t, tt.name, err, tt.want)
	}
	// A file on a disk, unless the test's binary is on a tmpfs.
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exe.Close() })
	if _, err := unix.FcntlInt(exe.Fd(), unix.F_GET_SEALS, 0); err != nil {
		_, err := c.Do(vfiousertest.CmdDMAMap, body(vfiousertest.MapRead, 0, free, 1<<12), int(exe.Fd()))
		wantErrno(t, "a file on a disk", err, unix.EINVAL)
	}
	// A descriptor with a command that has none to give is closed, too.
	_, err = c.Do(vfiousertest.CmdReset, nil, file, null)
	wantErrno(t, "reset with descriptors", err, unix.EINVAL)
	_, err = c.Do(100, nil, file)
	wantErrno(t, "unknown command with a descriptor", err, unix.EINVAL)
	if n := guestMappings(t); n != mappings {
		t.Errorf("%d mappings, %d before", n, mappings)
	}
}

// TestDMAUnmap: it takes the very mapping, and the memory is unmapped.
func TestDMAUnmap(t *testing.T) {
	noNewFDs(t)
	before := guestMappings(t)
	c := vfiousertest.Start(t, newDevice())
	m := mustMap(t, c, ram, 1<<16)
	mustMap(t, c, 2*ram, 1<<16)
	if n := guestMappings(t); n != before+4 {
		t.Fatalf("%d mappings of guest memory, want 2 here and 2 there", n-before)
	}
	for _, tt := range []struct {
		name  string
		flags uint32
		addr  uint64
		size  uint64
		want  unix.Errno
	}{
		{"a part", 0, ram, 1 << 12, unix.ENOENT},
		{"the end", 0, ram + 0xf000, 1 << 12, unix.ENOENT},
		{"more", 0, ram, 1 << 17, unix.ENOENT},
		{"what is not mapped", 0, 3 * ram, 1 << 16, unix.ENOENT},
		{"nothing", 0, 0, 0, unix.ENOENT},
		{"dirty bitmap", 1, ram, 1 << 16, unix.EINVAL},
		{"all, with an address", vfiousertest.UnmapAll, ram, 1 << 16, unix.EINVAL},
	} {
		_, err := c.Do(vfiousertest.CmdDMAUnmap, vfiousertest.UnmapBody(tt.flags, tt.addr, tt.size))
		wantErrno(t, tt.name, err, tt.want)
	}
	for _, b := range [][]byte{nil, vfiousertest.UnmapBody(0, ram, 1<<16)[:23], append(words(23), make([]byte, 20)...)} {
		_, err := c.Do(vfiousertest.CmdDMAUnmap, b)
		wantErrno(t, "a bad body", err, unix.EINVAL)
	}
	if _, err := do(c, doFill, ram, 1<<16, 1); err != nil {
		t.Errorf("after all these: %v", err)
	}

	if err := m.Unmap(); err != nil {
		t.Fatal(err)
	}
	_, err := do(c, doFill, ram, 1, 1)
	wantErrno(t, "access to what is unmapped", err, unix.EFAULT)
	if n := guestMappings(t); n != before+2 {
		t.Errorf("%d mappings of guest memory, want 1 here and 1 there", n-before)
	}
	if _, err := do(c, doFill, 2*ram, 1<<16, 1); err != nil {
		t.Errorf("the other mapping: %v", err)
	}
	mustMap(t, c, ram, 1<<12)
	if _, err := do(c, doFill, ram, 1<<12, 1); err != nil {
		t.Errorf("mapped again: %v", err)
	}
	if _, err := c.Do(vfiousertest.CmdDMAUnmap, vfiousertest.UnmapBody(vfiousertest.UnmapAll, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if n := guestMappings(t); n != before+2 {
		t.Errorf("%d mappings of guest memory, want the client's 2", n-before)
	}
	_, err = do(c, doFill, 2*ram, 1, 1)
	wantErrno(t, "access after unmapping all", err, unix.EFAULT)
}

// TestDMALimit: one client can't take all the mappings, nor all the addresses,
// of the process.
func TestDMALimit(t *testing.T) {
	noNewFDs(t)
	before := guestMappings(t)
	c, done := vfiousertest.StartRaw(t, newDevice())
	if _, err := c.Negotiate(); err != nil {
		t.Fatal(err)
	}
	fd := memfd(t, 1<<45)
	add := func(i uint64, size uint64, fds ...int) error {
		_, err := c.Do(vfiousertest.CmdDMAMap, vfiousertest.MapBody(vfiousertest.MapRead, 0, i<<46, size), fds...)
		return err
	}
	wantErrno(t, "32 TiB", add(0, 1<<45, fd), unix.ENOSPC)
	wantErrno(t, "8 TiB", add(0, 1<<43, fd), 0)
	wantErrno(t, "16 TiB in all", add(1, 1<<43, fd), 0)
	wantErrno(t, "a page more", add(2, 1<<12, fd), unix.ENOSPC)
	if _, err := c.Do(vfiousertest.CmdDMAUnmap, vfiousertest.UnmapBody(vfiousertest.UnmapAll, 0, 0)); err != nil {
		t.Fatal(err)
	}
	wantErrno(t, "16 TiB again", add(0, 1<<44, fd), 0)
	for i := uint64(1); i < 4096; i++ {
		_, err := c.Do(vfiousertest.CmdDMAMap, vfiousertest.MapBody(vfiousertest.MapRead, 0, 1<<46+i<<12, 1<<12))
		if err != nil {
			t.Fatalf("mapping %d: %v", i, err)
		}
	}
	wantErrno(t, "mapping 4097", add(2, 1<<12), unix.ENOSPC)
	c.Close()
	if err := done(); err != nil {
		t.Error(err)
	}
	if n := guestMappings(t); n != before {
		t.Errorf("%d mappings, %d before", n, before)
	}
}

//go:build linux

package uring

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLabZCRXRegister registers with each kind of ring, each kind of memory and each size, on a ring that is enabled by
// another thread than the one that registered.
func TestLabZCRXRegister(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXNotices, ZCRXFlush)
	huge, err := unix.Mmap(-1, 0, 4<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_HUGETLB)
	if err != nil {
		t.Fatalf("huge pages: %v: write their number to /proc/sys/vm/nr_hugepages", err)
	}
	defer unix.Munmap(huge)
	onZCRXRings(t, Params{}, func(t *testing.T, r *Ring) {
		for name, c := range map[string]ZCRXConfig{
			"plain":             {Area: Area{Memory: memory(t, page)}, RefillEntries: 1},
			"huge pages":        {Area: Area{Memory: huge}, RefillEntries: 1024},
			"largest refill":    {Area: Area{Memory: memory(t, page)}, RefillEntries: MaxRefill},
			"own refill memory": {Area: Area{Memory: memory(t, page)}, RefillEntries: 256, RefillMemory: memory(t, RefillSize(256))},
			"more of it":        {Area: Area{Memory: memory(t, page)}, RefillEntries: 16, RefillMemory: memory(t, 5*page), Stats: true},
			"buffer size":       {Area: Area{Memory: memory(t, page)}, RefillEntries: 4, BufferSize: page},
			"statistics":        {Area: Area{Memory: memory(t, page)}, RefillEntries: 128, Stats: true},
			"events":            {Area: Area{Memory: memory(t, page)}, RefillEntries: 128, Events: ZCRXCopied, EventUserData: 1},
		} {
			c.NoDevice = true
			q, err := r.RegisterZCRX(c)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			rq := q.Refill()
			if rq.Capacity() != int(c.RefillEntries) || rq.Space(1<<20) != rq.Capacity() || rq.InFlight() != 0 {
				t.Errorf("%s: refill ring of %d, %d free", name, rq.Capacity(), rq.Space(1<<20))
			}
			if q.BufferSize() != page || q.AreaSize(0) != len(c.Area.Memory) || q.Stats() != (ZCRXStats{}) {
				t.Errorf("%s: buffers of %d, area of %d, %+v", name, q.BufferSize(), q.AreaSize(0), q.Stats())
			}
			if err := q.Flush(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestLabZCRXDisabledRing registers on a disabled ring; the thread that enables it is its owner then, also of the queue.
func TestLabZCRXDisabledRing(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXFlush)
	for _, v := range zcrxRings {
		t.Run(v.name, func(t *testing.T) {
			r, err := New(8, Params{Flags: v.flags | SetupRDisabled, CQEntries: 64})
			must(t, err)
			t.Cleanup(func() { must(t, r.Close()) })
			z := newZCRX(t, r, 8, nil)
			want := pattern(100 * page)
			a, b := tcpPair(t)
			feed(t, b, want)
			done := make(chan bool)
			go func() {
				defer close(done)
				runtime.LockOSThread() // and never unlocked: the thread ends with its ring's requests
				if err := r.Enable(); err != nil {
					t.Error(err)
					return
				}
				if got, res := z.receive(a, want, 0); got != len(want) || res != 0 {
					t.Errorf("received %d of %d, ended with %d", got, len(want), res)
				}
			}()
			<-done
			if err := z.q.Flush(); !errors.Is(err, unix.EEXIST) {
				t.Errorf("flush by the thread that registered: %v", err)
			}
			if _, err := r.RegisterZCRX(ZCRXConfig{NoDevice: true, Area: Area{Memory: z.area}, RefillEntries: 1}); !errors.Is(err, unix.EEXIST) {
				t.Errorf("registered by another thread: %v", err)
			}
		})
	}
}

// TestLabZCRXRegisterErrors is the contract's table: what the kernel refuses, and with what.
func TestLabZCRXRegisterErrors(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXNotices, ZCRXBufferSize)
	// The area lies between two pages that are not mapped.
	outer, err := unix.Mmap(-1, 0, 10*page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	defer unix.Munmap(outer)
	area := outer[page : 9*page : 9*page]
	must(t, unix.Mprotect(area, unix.PROT_READ|unix.PROT_WRITE))
	readOnly, err := unix.Mmap(-1, 0, page, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	defer unix.Munmap(readOnly)
	own := memory(t, RefillSize(128))
	ownRing := func(s *zcrxScratch) { s.region.flags, s.region.userAddr = regionTypeUser, uint64(AddrOf(own)) }
	size := uint64(RefillSize(128))

	for _, tc := range []struct {
		name   string
		change func(s *zcrxScratch)
		want   []unix.Errno
	}{
		{"nothing wrong", func(*zcrxScratch) {}, []unix.Errno{0}},
		{"nothing wrong, own refill ring", ownRing, []unix.Errno{0}},

		{"area: none", func(s *zcrxScratch) { s.reg.areaPtr = 0 }, []unix.Errno{unix.EFAULT}},
		{"area: of no size", func(s *zcrxScratch) { s.area.size = 0 }, []unix.Errno{unix.EFAULT, unix.EINVAL}},
		{"area: at no address", func(s *zcrxScratch) { s.area.addr = 0 }, []unix.Errno{unix.EFAULT}},
		{"area: begins too early", func(s *zcrxScratch) { s.area.addr -= page }, []unix.Errno{unix.EFAULT}},
		{"area: ends too late", func(s *zcrxScratch) { s.area.size += page }, []unix.Errno{unix.EFAULT}},
		{"area: size not whole pages", func(s *zcrxScratch) { s.area.size -= page / 2 }, []unix.Errno{unix.EINVAL}},
		{"area: address not on a page", func(s *zcrxScratch) { s.area.addr += page / 2; s.area.size = page }, []unix.Errno{unix.EINVAL}},
		{"area: read-only", func(s *zcrxScratch) { s.area.addr, s.area.size = uint64(AddrOf(readOnly)), page }, []unix.Errno{unix.EFAULT}},
		{"area: more than the most", func(s *zcrxScratch) { s.area.size = maxArea + page }, []unix.Errno{unix.EINVAL, unix.EFAULT}},
		{"area: wraps around", func(s *zcrxScratch) { s.area.size = 1<<64 - page }, []unix.Errno{unix.EINVAL, unix.EOVERFLOW}},
		{"area: token", func(s *zcrxScratch) { s.area.token = 1 }, []unix.Errno{unix.EINVAL}},
		{"area: unknown flag", func(s *zcrxScratch) { s.area.flags = 1 << 5 }, []unix.Errno{unix.EINVAL}},
		{"area: descriptor without its flag", func(s *zcrxScratch) { s.area.dmabufFD = 1 }, []unix.Errno{unix.EINVAL}},
		{"area: DMA buffer without a device", func(s *zcrxScratch) { s.area.flags = zcrxAreaDMABuf }, []unix.Errno{unix.EINVAL}},
		{"area: reserved words", func(s *zcrxScratch) { s.area.resv[1] = 1 }, []unix.Errno{unix.EINVAL}},

		{"refill ring: no region", func(s *zcrxScratch) { s.reg.regionPtr = 0 }, []unix.Errno{unix.EFAULT}},
		{"refill ring: own memory, at no address", func(s *zcrxScratch) { ownRing(s); s.region.userAddr = 0 }, []unix.Errno{unix.EFAULT}},
		{"refill ring: address without its flag", func(s *zcrxScratch) { ownRing(s); s.region.flags = 0 }, []unix.Errno{unix.EFAULT}},
		{"refill ring: not on a page", func(s *zcrxScratch) { ownRing(s); s.region.userAddr += 64 }, []unix.Errno{unix.EINVAL, unix.EFAULT}},
		{"refill ring: of no size", func(s *zcrxScratch) { s.region.size = 0 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: region too small", func(s *zcrxScratch) { s.reg.rqEntries *= uint32(size / page * 4) }, []unix.Errno{unix.EINVAL}},
		{"refill ring: size not whole pages", func(s *zcrxScratch) { s.region.size = size + 64 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: unknown flag", func(s *zcrxScratch) { s.region.flags |= 1 << 4 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: id", func(s *zcrxScratch) { s.region.id = 1 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: mapping offset", func(s *zcrxScratch) { s.region.mmapOffset = 1 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: reserved words", func(s *zcrxScratch) { s.region.resv[0] = 1 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: no entries", func(s *zcrxScratch) { s.reg.rqEntries = 0 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: too many entries", func(s *zcrxScratch) { s.reg.rqEntries = MaxRefill + 1 }, []unix.Errno{unix.EINVAL}},
		{"refill ring: 2^32-1 entries", func(s *zcrxScratch) { s.reg.rqEntries = 1<<32 - 1 }, []unix.Errno{unix.EINVAL}},

		{"buffer size: 2^32-1", func(s *zcrxScratch) { s.reg.rxBufLen = 1<<32 - 1 }, []unix.Errno{unix.EINVAL}},
		{"buffer size: less than a page", func(s *zcrxScratch) { s.reg.rxBufLen = page / 2 }, []unix.Errno{unix.EINVAL}},
		{"buffer size: large, without a device", func(s *zcrxScratch) { s.reg.rxBufLen = 4 * page }, []unix.Errno{unix.EOPNOTSUPP}},
		{"buffer size: huge", func(s *zcrxScratch) { s.reg.rxBufLen = 1 << 31 }, []unix.Errno{unix.EOPNOTSUPP, unix.ERANGE}},

		{"queue id", func(s *zcrxScratch) { s.reg.zcrxID = 1 }, []unix.Errno{unix.EINVAL}},
		{"unknown flag", func(s *zcrxScratch) { s.reg.flags |= 1 << 7 }, []unix.Errno{unix.EINVAL}},
		{"reserved words", func(s *zcrxScratch) { s.reg.resv[1] = 1 }, []unix.Errno{unix.EINVAL}},
		{"no device, but an interface", func(s *zcrxScratch) { s.reg.ifIdx = 1 }, []unix.Errno{unix.EINVAL}},
		{"no device, but a queue", func(s *zcrxScratch) { s.reg.ifRxq = 1 }, []unix.Errno{unix.EINVAL}},
		{"no such interface", func(s *zcrxScratch) { s.reg.flags, s.reg.ifIdx = 0, 1<<20 }, []unix.Errno{unix.ENODEV}},
		{"queue -1", func(s *zcrxScratch) { s.reg.flags, s.reg.ifIdx, s.reg.ifRxq = 0, 1, 1<<32-1 }, []unix.Errno{unix.EINVAL}},
		{"loopback", func(s *zcrxScratch) { s.reg.flags, s.reg.ifIdx = 0, 1 }, []unix.Errno{unix.EOPNOTSUPP}},

		{"events: unknown", func(s *zcrxScratch) { s.reg.eventDesc = addrOf(&s.event); s.event.typeMask = 1 << 9 }, []unix.Errno{unix.EINVAL}},
		{"events: unknown flag", func(s *zcrxScratch) { s.reg.eventDesc = addrOf(&s.event); s.event.flags = 1 << 3 }, []unix.Errno{unix.EINVAL}},
		{"events: reserved words", func(s *zcrxScratch) { s.reg.eventDesc = addrOf(&s.event); s.event.resv[0] = 1 }, []unix.Errno{unix.EINVAL}},
		{"events: at an address that is not mapped", func(s *zcrxScratch) { s.reg.eventDesc = uint64(AddrOf(outer)) }, []unix.Errno{unix.EFAULT}},
		{"statistics: among the entries", func(s *zcrxScratch) {
			s.reg.eventDesc = addrOf(&s.event)
			s.event.flags, s.event.statsOffset = zcrxEventDescStats, 256
		}, []unix.Errno{unix.ERANGE}},
		{"statistics: not aligned", func(s *zcrxScratch) {
			s.reg.eventDesc = addrOf(&s.event)
			s.event.flags, s.event.statsOffset = zcrxEventDescStats, size-17
		}, []unix.Errno{unix.EINVAL}},
		{"statistics: behind the region", func(s *zcrxScratch) {
			s.reg.eventDesc = addrOf(&s.event)
			s.event.flags, s.event.statsOffset = zcrxEventDescStats, size
		}, []unix.Errno{unix.ERANGE}},

		{"import with an area", func(s *zcrxScratch) { s.reg.flags = zcrxRegImport }, []unix.Errno{unix.EINVAL}},
	} {
		for _, v := range zcrxRings {
			r := newRing(t, 2, Params{Flags: v.flags})
			got := registerRaw(t, r, area, false, tc.change)
			ok := false
			for _, want := range tc.want {
				ok = ok || got == want
			}
			if !ok {
				t.Errorf("%s, %s: %v (%d), want one of %v", v.name, tc.name, got, got, tc.want)
			}
		}
	}

	r := newRing(t, 2, Params{Flags: zcrxRings[0].flags})
	if got := registerRaw(t, r, area, true, func(*zcrxScratch) {}); got != unix.EFAULT {
		t.Errorf("read-only structures: %v", got)
	}
	for _, flags := range []SetupFlags{0, SetupCQE32, zcrxRing, SetupSingleIssuer | SetupCQE32} {
		r := newRing(t, 2, Params{Flags: flags})
		if got := registerRaw(t, r, area, false, func(*zcrxScratch) {}); got != unix.EINVAL {
			t.Errorf("a ring with %v: %v", flags, got)
		}
	}
	clamping := newRing(t, 2, Params{Flags: zcrxRings[0].flags | SetupClamp})
	got := registerRaw(t, clamping, area, false, func(s *zcrxScratch) {
		s.reg.rqEntries, s.region.size = MaxRefill+1, uint64(RefillSize(MaxRefill))
	})
	if got != 0 {
		t.Errorf("a ring that clamps: %v", got)
	}
}

// TestLabZCRXClose closes rings in the middle of everything. Nothing may hang or be left, and the area can be read and
// written on.
func TestLabZCRXClose(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice, ZCRXExport)
	for _, v := range zcrxRings {
		for name, tc := range map[string]struct{ data, async, export bool }{
			"waiting":                   {},
			"task work under way":       {data: true},
			"worker under way":          {data: true, async: true},
			"exported":                  {data: true, export: true},
			"exported, worker":          {data: true, async: true, export: true},
			"exported, nothing to read": {export: true},
		} {
			t.Run(v.name+"/"+name, func(t *testing.T) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				r, err := New(16, Params{Flags: v.flags})
				must(t, err)
				z := newZCRX(t, r, 8, nil)
				copy(z.area, "mine")
				a, b := tcpPair(t)
				if tc.export {
					fd, err := z.q.Export()
					must(t, err)
					keep(t, fd)
				}
				sqe := RecvZC(a, z.q.ID(), 0, 0, 1)
				if tc.async {
					must(t, writeAll(b, pattern(16)))
					sqe.Flags |= AsyncIO
				}
				push(t, r, sqe)
				_, err = r.Submit()
				must(t, err)
				if tc.data && !tc.async {
					must(t, writeAll(b, pattern(16)))
				}
				must(t, r.Close())
				must(t, r.Close())
				rq := z.q.Refill()
				if put(rq, 0) != 0 || rq.Space(1) != 0 || rq.InFlight() != 0 || rq.Corruptions() != 0 || z.q.Stats() != (ZCRXStats{}) {
					t.Error("the refill ring of a closed ring is alive")
				}
				rq.Publish()
				if err := z.q.Flush(); !errors.Is(err, ErrClosed) {
					t.Errorf("flush: %v", err)
				}
				if _, err := z.q.Export(); !errors.Is(err, ErrClosed) {
					t.Errorf("export: %v", err)
				}
				if err := z.q.ArmEvent(ZCRXCopied); !errors.Is(err, ErrClosed) {
					t.Errorf("arm: %v", err)
				}
				if _, err := z.q.AddArea(Area{Memory: z.area}); !errors.Is(err, ErrClosed) {
					t.Errorf("add an area: %v", err)
				}
				if string(z.area[:4]) != "mine" && !tc.data {
					t.Errorf("the area begins with %q", z.area[:4])
				}
				z.area[0]++
			})
		}
	}
}

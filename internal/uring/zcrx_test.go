//go:build linux

package uring

import (
	"errors"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/shring"
)

// TestZCRXConfigCheck: what the kernel would only call invalid is refused by name, before it gets there.
func TestZCRXConfigCheck(t *testing.T) {
	mem := memory(t, 4*page)
	enormous, tooLarge := int(min(uint64(maxArea+page), math.MaxInt&^(page-1))), "at most"
	if int64(enormous) <= maxArea {
		tooLarge = "" // where int has 32 bits none is
	}
	good := ZCRXConfig{Interface: 2, Queue: 1, Area: Area{Memory: mem}, RefillEntries: 64}
	for _, tc := range []struct {
		name   string
		change func(*ZCRXConfig)
		want   string // "" is no error
	}{
		{"good", func(*ZCRXConfig) {}, ""},
		{"no device", func(c *ZCRXConfig) { c.NoDevice, c.Interface, c.Queue = true, 0, 0 }, ""},
		{"largest refill ring", func(c *ZCRXConfig) { c.RefillEntries = MaxRefill }, ""},
		{"DMA buffer", func(c *ZCRXConfig) { c.Area = Area{DMABuf: 3, Size: page} }, ""},
		{"large buffers", func(c *ZCRXConfig) { c.BufferSize = 2 * page }, ""},
		{"own refill ring", func(c *ZCRXConfig) { c.RefillMemory = memory(t, RefillSize(64)) }, ""},

		{"no device, an interface", func(c *ZCRXConfig) { c.NoDevice = true }, "both must be 0"},
		{"no interface", func(c *ZCRXConfig) { c.Interface = 0 }, "interface index 0"},
		{"negative queue", func(c *ZCRXConfig) { c.Queue = -1 }, "queue -1"},
		{"no area", func(c *ZCRXConfig) { c.Area = Area{} }, "no size"},
		{"area of half pages", func(c *ZCRXConfig) { c.Area.Memory = mem[:page+page/2] }, "not a multiple"},
		{"area not on a page", func(c *ZCRXConfig) { c.Area.Memory = mem[64 : 64+page] }, "does not start on a page"},
		{"enormous area", func(c *ZCRXConfig) { c.Area = Area{DMABuf: 3, Size: enormous} }, tooLarge},
		{"area in no descriptor", func(c *ZCRXConfig) { c.Area = Area{DMABuf: -1, Size: page} }, "descriptor -1"},
		{"DMA buffer, no device", func(c *ZCRXConfig) {
			*c = ZCRXConfig{NoDevice: true, Area: Area{DMABuf: 3, Size: page}, RefillEntries: 1}
		}, "without a device"},
		{"no refill ring", func(c *ZCRXConfig) { c.RefillEntries = 0 }, "power of two"},
		{"odd refill ring", func(c *ZCRXConfig) { c.RefillEntries = 63 }, "power of two"},
		{"too large refill ring", func(c *ZCRXConfig) { c.RefillEntries = 2 * MaxRefill }, "power of two"},
		{"refill ring not on a page", func(c *ZCRXConfig) { c.RefillMemory = memory(t, 3*page)[8:] }, "does not start on a page"},
		{"refill ring of half pages", func(c *ZCRXConfig) { c.RefillMemory = memory(t, 3*page)[:2*page+8] }, "not a multiple"},
		{"small refill ring", func(c *ZCRXConfig) { c.RefillEntries, c.RefillMemory = 1024, memory(t, page) }, "need"},
		{"buffers of half pages", func(c *ZCRXConfig) { c.BufferSize = page / 2 }, "power of two"},
		{"buffers of three pages", func(c *ZCRXConfig) { c.BufferSize = 3 * page }, "power of two"},
		{"buffers that do not divide the area", func(c *ZCRXConfig) { c.BufferSize = 8 * page }, "not a multiple"},
		{"large buffers, no device", func(c *ZCRXConfig) {
			c.NoDevice, c.Interface, c.Queue, c.BufferSize = true, 0, 0, 2*page
		}, "only pages"},
		{"unknown event", func(c *ZCRXConfig) { c.Events = 1 << 7 }, "not known"},
	} {
		c := good
		tc.change(&c)
		err := c.check()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if RefillSize(1) != page*((zcrxStatsSize+refillEntrySize+refillHeader()+page-1)/page) || RefillSize(MaxRefill) < MaxRefill*refillEntrySize {
		t.Errorf("sizes %d, %d", RefillSize(1), RefillSize(MaxRefill))
	}
}

// TestZCRXData: which completions are payload, and where.
func TestZCRXData(t *testing.T) {
	ifq := func(mixed bool) *IFQ {
		q, err := NewIFQ(IFQParts{Areas: []int{4 * page, page}, Mixed: mixed})
		must(t, err)
		return q
	}
	const a1 = 1 << zcrxAreaShift
	for _, tc := range []struct {
		name  string
		mixed bool
		c     CQE
		want  ZCData // of no length: no payload
	}{
		{"payload", false, CQE{Res: 10, Flags: CQEMore, Extra: [2]uint64{page + 5}}, ZCData{page + 5, 10}},
		{"payload, mixed", true, CQE{Res: 10, Flags: CQEMore | CQE32, Extra: [2]uint64{5}}, ZCData{5, 10}},
		{"to the area's end", false, CQE{Res: page, Flags: CQEMore, Extra: [2]uint64{3 * page}}, ZCData{3 * page, page}},
		{"second area", false, CQE{Res: page, Flags: CQEMore, Extra: [2]uint64{a1}}, ZCData{a1, page}},
		{"end", false, CQE{}, ZCData{}},
		{"failure", false, CQE{Res: -int32(unix.ENOMEM), Extra: [2]uint64{5}}, ZCData{}},
		{"failure that lives on", false, CQE{Res: -1, Flags: CQEMore}, ZCData{}},
		{"last", false, CQE{Res: 10}, ZCData{}},
		{"small, mixed", true, CQE{Res: 10, Flags: CQEMore}, ZCData{}},
		{"beyond the area", false, CQE{Res: page + 1, Flags: CQEMore, Extra: [2]uint64{3 * page}}, ZCData{}},
		{"beyond the second area", false, CQE{Res: 2, Flags: CQEMore, Extra: [2]uint64{a1 + page - 1}}, ZCData{}},
		{"no such area", false, CQE{Res: 1, Flags: CQEMore, Extra: [2]uint64{2 * a1}}, ZCData{}},
		{"offset that wraps", false, CQE{Res: 1<<31 - 1, Flags: CQEMore, Extra: [2]uint64{a1 - 1}}, ZCData{}},
	} {
		q := ifq(tc.mixed)
		got, ok := q.Data(&tc.c)
		if got != tc.want || ok != (tc.want.Len > 0) {
			t.Errorf("%s: %+v %v, want %+v", tc.name, got, ok, tc.want)
		}
		// Run finds the same in it, alone, and behind payload in either area.
		for _, before := range [][]CQE{nil, {{}}, {{Extra: [2]uint64{a1}}}} {
			n, bytes, area := 0, 0, 0
			for i := range before {
				before[i].Res, before[i].Flags = 1, CQEMore|CQE32
				n, bytes, area = 1, 1, ZCData{Token: before[i].Extra[0]}.Area()
			}
			if ok && (n == 0 || got.Area() == area) {
				n, bytes, area = n+1, bytes+got.Len, got.Area()
			}
			if k, b, a := q.Run(append(before, tc.c), math.MaxInt); k != n || b != bytes || a != area {
				t.Errorf("%s: a run of %d, %d bytes, in area %d, want %d, %d, %d", tc.name, k, b, a, n, bytes, area)
			}
		}
	}
	if d := (ZCData{Token: 3*a1 + 77}); d.Area() != 3 || d.Offset() != 77 {
		t.Errorf("area %d, offset %d", d.Area(), d.Offset())
	}
}

// A run ends with its request, and when its bytes reach the limit.
func TestRunEnds(t *testing.T) {
	q, err := NewIFQ(IFQParts{Areas: []int{4 * page}})
	must(t, err)
	cqes := make([]CQE, 5)
	for i := range cqes {
		cqes[i] = CQE{UserData: 7, Res: 100, Flags: CQEMore, Extra: [2]uint64{uint64(i) * 100}}
	}
	cqes[4].UserData = 8
	for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 100: 1, 101: 2, 300: 3, 1000: 4} {
		if n, bytes, _ := q.Run(cqes, limit); n != want || bytes != 100*want {
			t.Errorf("limit %d: a run of %d, %d bytes, want %d", limit, n, bytes, want)
		}
	}
	if n, _, _ := q.Run(nil, 100); n != 0 {
		t.Errorf("a run of %d in nothing", n)
	}
}

// TestRecvZCRequest: what goes where.
func TestRecvZCRequest(t *testing.T) {
	got := RecvZC(7, 3, 1000, RecvPollFirst, 42)
	want := SQE{Opcode: 58, IOPrio: 1<<1 | 1<<0, FD: 7, Len: 1000, FileIndex: 3, UserData: 42}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// newRQ makes a refill ring on the heap, and the kernel's side of it.
func newRQ(t *testing.T, size, start uint32) (*RQ, *shring.Consumer, []RefillEntry) {
	t.Helper()
	w := shring.Words{Producer: new(uint32), Consumer: new(uint32), Size: size}
	*w.Producer, *w.Consumer = start, start
	entries := make([]RefillEntry, size)
	q, err := NewIFQ(IFQParts{Words: w, Refill: entries})
	must(t, err)
	c, err := shring.NewConsumer(w)
	must(t, err)
	return q.Refill(), c, entries
}

// put writes an entry for each token as far as there is room, and returns how many.
func put(q *RQ, tokens ...uint64) (n int) {
	for n < len(tokens) {
		room := q.Room(len(tokens) - n)
		if len(room) == 0 {
			break
		}
		for i := range room {
			room[i] = RefillEntry{Token: tokens[n+i]}
		}
		q.Wrote(len(room))
		n += len(room)
	}
	return n
}

// TestRefillRing: nothing is seen before Publish, nothing fits into a full ring, and indices wrap.
func TestRefillRing(t *testing.T) {
	for _, start := range []uint32{0, 1<<32 - 3} {
		q, c, entries := newRQ(t, 8, start)
		if q.Capacity() != 8 || q.Space(100) != 8 || q.Space(3) != 3 || q.Space(0) != 0 || q.Space(-1) != 0 {
			t.Errorf("capacity %d, space %d", q.Capacity(), q.Space(100))
		}
		next := uint64(0)
		for round := range 5 {
			wrote := 0
			for put(q, next) == 1 {
				next++
				wrote++
			}
			if wrote != 8 || q.Space(1) != 0 || c.Ready() != 0 || q.InFlight() != 0 {
				t.Fatalf("round %d: put %d, %d free, %d published", round, wrote, q.Space(1), c.Ready())
			}
			q.Publish()
			q.Publish()
			if q.InFlight() != 8 {
				t.Errorf("%d in flight", q.InFlight())
			}
			at, n := c.Peek(8)
			for i := range n {
				if e := entries[(at+i)&c.Mask()]; e != (RefillEntry{Token: next - 8 + uint64(i)}) {
					t.Errorf("entry %+v", e)
				}
			}
			c.Release(3)
			if q.Space(100) != 3 || q.InFlight() != 5 {
				t.Errorf("%d free, %d in flight", q.Space(100), q.InFlight())
			}
			c.Release(5)
		}
		if q.Corruptions() != 0 {
			t.Error("corruption")
		}
	}
	if _, err := NewIFQ(IFQParts{Words: shring.Words{}, Refill: make([]RefillEntry, 1)}); err == nil {
		t.Error("made a ring without words")
	}
}

// TestRefillRoom: many entries at a time, also where the ring begins anew.
func TestRefillRoom(t *testing.T) {
	q, c, entries := newRQ(t, 8, 5)
	if n := len(q.Room(100)); n != 3 {
		t.Errorf("room for %d in a row, want 3", n)
	}
	if n := put(q, 1, 2, 3, 4, 5); n != 5 {
		t.Errorf("put %d", n)
	}
	room := q.Room(2)
	if len(room) != 2 {
		t.Fatalf("room for %d, want 2", len(room))
	}
	room[0] = RefillEntry{Token: 6}
	q.Wrote(1)
	if n := put(q, 7, 8, 9, 10); n != 2 || q.Room(1) != nil {
		t.Errorf("put %d in the end", n)
	}
	q.Publish()
	at, n := c.Peek(8)
	for i := range n {
		if e := entries[(at+i)&c.Mask()]; e != (RefillEntry{Token: uint64(i) + 1}) {
			t.Errorf("entry %d is %+v", i, e)
		}
	}
	if n != 8 {
		t.Errorf("%d were published", n)
	}
	if new(RQ).Room(1) != nil {
		t.Error("there is room in no ring")
	}
}

// TestRefillRingConcurrent plays the kernel on another goroutine. Under -race it shows that publishing is what makes the
// entries visible.
func TestRefillRingConcurrent(t *testing.T) {
	const total = 50_000
	q, c, entries := newRQ(t, 64, 0)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for want := uint64(0); want < total; {
			at, n := c.Peek(64)
			for i := range n {
				if e := entries[(at+i)&c.Mask()]; e.Token != want || e.Pad != 0 {
					t.Errorf("entry %+v, want %d", e, want)
					return
				}
				want++
			}
			c.Release(n)
			if n == 0 {
				runtime.Gosched()
			}
		}
	})
	for next := uint64(0); next < total; {
		for range min(7, total-next) {
			if put(q, next) == 0 {
				break
			}
			next++
		}
		q.Publish()
		if q.Space(1) == 0 {
			runtime.Gosched()
		}
	}
}

// TestZCRXHotPathAllocates nothing.
func TestZCRXHotPathAllocates(t *testing.T) {
	q, c, _ := newRQ(t, 64, 0)
	ifq, err := NewIFQ(IFQParts{Areas: []int{4 * page}})
	must(t, err)
	cqe := CQE{Res: 10, Flags: CQEMore, Extra: [2]uint64{page + 5}}
	if n := testing.AllocsPerRun(100, func() {
		d, ok := ifq.Data(&cqe)
		if !ok || put(q, d.Token) == 0 {
			t.Error("refused")
		}
		q.Publish()
		c.Peek(1)
		c.Release(1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestAttachRefill: offsets that cannot be are not believed.
func TestAttachRefill(t *testing.T) {
	mem := memory(t, page)
	good := zcrxOffsets{head: 0, tail: 64, rqes: 128}
	for _, tc := range []struct {
		name    string
		off     zcrxOffsets
		entries uint32
		ok      bool
	}{
		{"good", good, 128, true},
		{"older layout", zcrxOffsets{head: 0, tail: 4, rqes: 64}, 128, true},
		{"entries to the end", zcrxOffsets{head: 0, tail: 64, rqes: page - 16}, 1, true},
		{"no entries", good, 0, false},
		{"no power of two", good, 100, false},
		{"too many entries", good, 256, false},
		{"one word for both", zcrxOffsets{head: 64, tail: 64, rqes: 128}, 4, false},
		{"word not aligned", zcrxOffsets{head: 2, tail: 64, rqes: 128}, 4, false},
		{"word behind", zcrxOffsets{head: 0, tail: page, rqes: 128}, 4, false},
		{"entries not aligned", zcrxOffsets{head: 0, tail: 64, rqes: 132}, 4, false},
		{"entries behind", zcrxOffsets{head: 0, tail: 64, rqes: page}, 1, false},
		{"offset that wraps", zcrxOffsets{head: 0, tail: 64, rqes: 1<<32 - 16}, 4, false},
	} {
		q, err := attachRQ(mem, tc.off, tc.entries)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
		if tc.ok && q.Capacity() != int(tc.entries) {
			t.Errorf("%s: %d entries", tc.name, q.Capacity())
		}
	}
	for off, ok := range map[uint64]bool{0: true, page - 16: true, page - 8: false, page: false, 4: false, 1<<64 - 8: false} {
		if _, _, err := attachStats(mem, off); (err == nil) != ok {
			t.Errorf("statistics at %d: %v", off, err)
		}
	}
}

func TestZCRXEventNames(t *testing.T) {
	for e, want := range map[ZCRXEvents]string{
		ZCRXAllocFailed: "ALLOC_FAIL", ZCRXCopied: "COPY", ZCRXAllocFailed | ZCRXCopied: "ALLOC_FAIL|COPY", 0: "0x0", 1 << 5: "0x20",
	} {
		if e.String() != want {
			t.Errorf("%d is %q, want %q", uint32(e), e, want)
		}
	}
	for res, want := range map[int32]ZCRXEvents{0: ZCRXAllocFailed, 1: ZCRXCopied, 2: 0, -1: 0, 1 << 30: 0} {
		if got := ParseZCRXEvent(&CQE{Res: res}); got != want {
			t.Errorf("result %d is %v, want %v", res, got, want)
		}
	}
}

// TestJudgeQuery: the outcomes of a query.
func TestJudgeQuery(t *testing.T) {
	for _, tc := range []struct {
		errno  unix.Errno
		result int32
		want   error // nil: an answer
		no     bool  // ErrNotSupported
	}{
		{0, 0, nil, false},
		{unix.EINVAL, 0, unix.EINVAL, true},
		{unix.EBADF, 0, unix.EBADF, true},
		{unix.ENOSYS, 0, unix.ENOSYS, true},
		{unix.EPERM, 0, unix.EPERM, true},
		{unix.EFAULT, 0, unix.EFAULT, false},
		{0, -int32(unix.EOPNOTSUPP), ErrNotSupported, true},
		{0, -int32(unix.E2BIG), unix.E2BIG, false},
	} {
		err := judgeQuery(tc.errno, tc.result)
		if (err == nil) != (tc.want == nil) || err != nil && !errors.Is(err, tc.want) || errors.Is(err, ErrNotSupported) != tc.no {
			t.Errorf("%v, result %d: %v", tc.errno, tc.result, err)
		}
	}
	broken := errors.New("broken")
	for _, tc := range []struct {
		yes       bool
		err, want error
	}{{true, nil, nil}, {false, nil, ErrNotSupported}, {true, broken, broken}, {false, broken, broken}} {
		if err := supported(tc.yes, tc.err); err != tc.want {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

func TestJudgeZCRX(t *testing.T) {
	for errno, no := range map[unix.Errno]bool{
		unix.EPERM: true, unix.EINVAL: true, unix.EOPNOTSUPP: true, unix.ENOMEM: false, unix.EBADFD: false,
	} {
		if err := judgeZCRX(errno); !errors.Is(err, errno) || errors.Is(err, ErrNotSupported) != no {
			t.Errorf("%v: %v", errno, err)
		}
	}
	if err := judgeZCRX(unix.EFAULT); err != nil {
		t.Error(err)
	}
	if err := judgeZCRX(0); err == nil || errors.Is(err, ErrNotSupported) {
		t.Errorf("success: %v", err)
	}
}

// TestExplainZCRX: every errno of the registration has a remedy, and says whether another attempt can help.
func TestExplainZCRX(t *testing.T) {
	nic := ZCRXConfig{Interface: 2, Queue: 1}
	for _, tc := range []struct {
		cfg   ZCRXConfig
		errno unix.Errno
		say   string
		no    bool
	}{
		{nic, unix.EPERM, "CAP_NET_ADMIN", true},
		{nic, unix.EFAULT, "not mapped", false},
		{nic, unix.ENODEV, "no interface of that index", false},
		{nic, unix.EOPNOTSUPP, "memory providers", true},
		{ZCRXConfig{Interface: 2, BufferSize: 8192}, unix.EOPNOTSUPP, "BufferSize 0", true},
		{nic, unix.ERANGE, "no such receive queue", false},
		{ZCRXConfig{Interface: 2, BufferSize: 8192}, unix.ERANGE, "huge pages", false},
		{nic, unix.EEXIST, "XDP program", false},
		{ZCRXConfig{NoDevice: true}, unix.EEXIST, "another thread", false},
		{nic, unix.EBUSY, "AF_XDP", false},
		{nic, unix.ENODATA, "did not take", true},
		{nic, unix.ENOMEM, "RLIMIT_MEMLOCK", false},
		{ZCRXConfig{Interface: 2, Area: Area{Size: page}}, unix.EBADF, "no DMA buffer", false},
		{nic, unix.EIO, "", false},
	} {
		err := explainZCRX(&tc.cfg, tc.errno)
		if !errors.Is(err, tc.errno) || !strings.Contains(err.Error(), tc.say) || errors.Is(err, ErrNotSupported) != tc.no {
			t.Errorf("%+v, %v: %v", tc.cfg, tc.errno, err)
		}
	}
	if Have(ZCRX) == nil { // else the answer is that
		if err := explainZCRX(&nic, unix.EINVAL); !strings.Contains(err.Error(), "tcp-data-split") || errors.Is(err, ErrNotSupported) {
			t.Error(err)
		}
		for f, cfg := range map[Feature]ZCRXConfig{
			ZCRXNoDevice: {NoDevice: true}, ZCRXBufferSize: {Interface: 1, BufferSize: 8192}, ZCRXNotices: {Interface: 1, Stats: true},
		} {
			if err := explainZCRX(&cfg, unix.EINVAL); Have(f) != nil && (!errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), f.String())) {
				t.Errorf("%v: %v", f, err)
			}
		}
	}
	for errno, say := range map[unix.Errno]string{unix.EPERM: "CAP_NET_ADMIN", unix.EBADF: "no exported", unix.ENOMEM: "descriptor 5"} {
		if err := explainImport(5, errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), say) {
			t.Errorf("import, %v: %v", errno, err)
		}
	}
	for errno, say := range map[unix.Errno]string{
		unix.EEXIST: "another thread", unix.ENXIO: "no such interface queue", unix.EOPNOTSUPP: "does not know",
		unix.EMFILE: "descriptor", unix.EFAULT: "EXPORT",
	} {
		if err := explainControl(ctrlExport, errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), say) {
			t.Errorf("control, %v: %v", errno, err)
		}
	}
	if os.Getpagesize() != page {
		t.Logf("pages of %d", os.Getpagesize())
	}
}

//go:build linux

package nic

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRuleCodec(t *testing.T) {
	for _, m := range []Match{
		{Proto: TCP, Port: 80},
		{Proto: UDP, Port: 65535},
		{Proto: TCP, IPv6: true, Port: 1},
		{Proto: TCP, Addr: netip.MustParseAddr("10.1.2.3"), Port: 0x1234},
		{Proto: UDP, IPv6: true, Addr: netip.MustParseAddr("fd00::1:2"), Port: 53},
	} {
		for _, context := range []*uint32{nil, number32(7)} {
			want := Rule{Location: 0xabcdef, Match: m, Exact: true, Queue: 5, Context: context}
			b := encodeRule(want)
			if len(b) != rxnfcLen || binary.NativeEndian.Uint32(b) != unix.ETHTOOL_SRXCLSRLINS {
				t.Fatalf("%d bytes, command %#x", len(b), b[:4])
			}
			if got := decodeRule(b); !reflect.DeepEqual(got, want) || !got.same(want) {
				t.Errorf("decoded %+v, want %+v", got, want)
			}
			// Whatever else a rule looks at makes it another one.
			for i := specMasks; i < specExtraM; i++ {
				c := slices.Clone(b)
				c[i] ^= 0x80
				if got := decodeRule(c); got.same(want) {
					t.Fatalf("%v: mask byte %d makes no difference", want, i-specMasks)
				}
			}
			for _, flag := range []uint32{0x80000000, 0x40000000} {
				c := slices.Clone(b)
				binary.NativeEndian.PutUint32(c[specType:], binary.NativeEndian.Uint32(c[specType:])|flag)
				if decodeRule(c).Exact {
					t.Errorf("%v: flag %#x makes no difference", want, flag)
				}
			}
		}
	}
	// The bytes of one, by hand: tcp4, dst-ip 10.1.2.3, dst-port 80.
	b := encodeRule(Rule{Location: 1, Match: Match{Proto: TCP, Addr: netip.MustParseAddr("10.1.2.3"), Port: 80}, Queue: 2})
	for at, want := range map[int][]byte{
		20 + 4: {10, 1, 2, 3}, 20 + 10: {0, 80}, 92 + 4: {255, 255, 255, 255}, 92 + 10: {255, 255},
	} {
		if got := b[at : at+len(want)]; !slices.Equal(got, want) {
			t.Errorf("at %d: % x, want % x", at, got, want)
		}
	}
}

func TestRuleOfOthers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cookie uint64
		queue  int
	}{{"to a queue", 3, 3}, {"dropped", ^uint64(0), -1}, {"woken up by", ^uint64(1), -1}, {"to a virtual function", 1<<32 | 2, -1}} {
		b := make([]byte, rxnfcLen)
		binary.NativeEndian.PutUint32(b[specType:], 0x12) // ETHER_FLOW
		binary.NativeEndian.PutUint64(b[specCookie:], tt.cookie)
		if r := decodeRule(b); r.Queue != tt.queue || r.Exact {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
	a, b := Rule{Queue: 1}, Rule{Queue: 1}
	if a.same(b) {
		t.Error("two rules that are not understood are the same")
	}
}

func TestReserved(t *testing.T) {
	for _, tt := range []struct{ size, from, to uint32 }{
		{0, 0, 0}, {1, 0, 1}, {7, 0, 7}, {8, 2, 6}, {64, 16, 48}, {1024, 256, 512}, {1 << 13, 1 << 11, 1<<11 + 256}, {0x7fffffff, 0x1fffffff, 0x200000ff},
	} {
		if from, to := (RuleTable{Size: tt.size}).Reserved(); from != tt.from || to != tt.to {
			t.Errorf("of %d: %d to %d, want %d to %d", tt.size, from, to, tt.from, tt.to)
		}
	}
}

func TestWithout(t *testing.T) {
	for _, tt := range []struct {
		table         []uint32
		queue, queues int
		want          []uint32
	}{
		{spread(8, 4), 3, 4, spread(8, 3)},
		{spread(7, 4), 3, 4, spread(7, 3)},
		{spread(8, 2), 1, 2, spread(8, 1)},
		{spread(8, 4), 1, 4, []uint32{0, 0, 2, 3, 0, 2, 2, 3}},
		{[]uint32{2, 2, 1, 1}, 2, 4, []uint32{1, 1, 1, 1}}, // 0 and 3 were left out by somebody
		{[]uint32{1, 1, 1, 1}, 1, 3, []uint32{0, 2, 0, 2}},
		{[]uint32{0, 3, 0, 3}, 2, 4, []uint32{0, 3, 0, 3}},
		{spread(8, 4), 1, 2, spread(8, 1)}, // 2 and 3 have gone
		{[]uint32{5, 6}, 1, 3, []uint32{0, 2}},
	} {
		before := slices.Clone(tt.table)
		if got := without(tt.table, tt.queue, tt.queues); !slices.Equal(got, tt.want) || !slices.Equal(before, tt.table) {
			t.Errorf("%v without %d of %d: %v, want %v", before, tt.queue, tt.queues, got, tt.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		queues := 2 + r.IntN(9)
		table := make([]uint32, 1+r.IntN(200))
		for i := range table {
			table[i] = r.Uint32N(uint32(queues + r.IntN(2)))
		}
		queue := 1 + r.IntN(queues-1)
		got := without(table, queue, queues)
		if len(got) != len(table) || (RSS{Indir: got}).Uses(queue) || int(slices.Max(got)) >= queues {
			t.Fatalf("%v without %d of %d: %v", table, queue, queues, got)
		}
		if default1 := slices.Equal(table, spread(len(table), queues)); !default1 {
			for i := range table {
				if int(table[i]) != queue && int(table[i]) < queues && table[i] != got[i] {
					t.Fatalf("%v without %d: entry %d was moved: %v", table, queue, i, got)
				}
			}
		}
	}
}

func TestDescribeTable(t *testing.T) {
	for want, table := range map[string][]uint32{
		"equal 1": spread(16, 1), "equal 5": spread(128, 5), "weight 1 0 3": {0, 2, 2, 2}, "none": nil,
		"1 entries over 2049 queues": {2048},
	} {
		if got := describeTable(table); got != want {
			t.Errorf("%v: %q, want %q", table, got, want)
		}
	}
}

func TestEncodeRXFH(t *testing.T) {
	b := encodeRXFH(3, []uint32{1, 2}, []byte{9, 8, 7})
	if len(b) != rxfhLen+11 || binary.NativeEndian.Uint32(b[4:]) != 3 || binary.NativeEndian.Uint32(b[8:]) != 2 ||
		binary.NativeEndian.Uint32(b[12:]) != 3 || b[16] != 0 || b[17] != 0xff || !slices.Equal(b[rxfhLen+8:], []byte{9, 8, 7}) {
		t.Errorf("% x", b)
	}
	if b := encodeRXFH(0, nil, nil); len(b) != rxfhLen || binary.NativeEndian.Uint32(b[8:]) != 0 {
		t.Errorf("the default table: % x", b)
	}
}

func TestAttrs(t *testing.T) {
	var a attrs
	a.u8(1, 7)
	a.u32(2, 0x01020304)
	a.text(3, "name")
	a.flag(4)
	a.nest(5, func(a *attrs) { a.u32(6, 1); a.u32(6, 2) })
	a.put(7, binary.NativeEndian.AppendUint64(nil, 1<<40))
	list, err := parseAttrs(a)
	must(t, err)
	if len(list) != 6 || len(a)%4 != 0 {
		t.Fatalf("%d attributes in %d bytes", len(list), len(a))
	}
	if list[0].num() != 7 || list[1].u32() != 0x01020304 || list[2].text() != "name" || list[3].typ != 4 || list[5].num() != 1<<40 {
		t.Errorf("%+v", list)
	}
	if inner := list[4].nested(); list[4].typ != 5 || len(inner) != 2 || inner[1].u32() != 2 {
		t.Errorf("nested: %+v", list[4])
	}
	for _, bad := range [][]byte{{3, 0, 0, 0}, {0, 0, 0, 0}, {9, 0, 1, 0, 0, 0, 0, 0}} {
		if _, err := parseAttrs(bad); !errors.Is(err, unix.EBADMSG) {
			t.Errorf("% x: %v", bad, err)
		}
	}
	if n := (attr{value: []byte{1, 2, 3}}).num(); n != 0 {
		t.Errorf("a number of three bytes: %d", n)
	}
}

// message is one of netlink's.
func message(typ, flags uint16, seq uint32, payload []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), payload...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func code(errno unix.Errno) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
}

func TestScan(t *testing.T) {
	var msg attrs
	msg.text(unix.NLMSGERR_ATTR_MSG, "in so many words")
	request := make([]byte, unix.SizeofNlMsghdr)
	for _, tt := range []struct {
		name    string
		b       []byte
		answers int
		end     bool
		err     unix.Errno
		says    string
	}{
		{"an answer", message(20, 0, 5, []byte("abc")), 1, false, 0, ""},
		{"two and the end", slices.Concat(message(20, 2, 5, nil), message(20, 2, 5, nil), message(unix.NLMSG_DONE, 2, 5, code(0))), 2, true, 0, ""},
		{"an acknowledgement", message(unix.NLMSG_ERROR, 0, 5, append(code(0), request...)), 0, true, 0, ""},
		{"an error", message(unix.NLMSG_ERROR, 0, 5, append(code(unix.EPERM), request...)), 0, true, unix.EPERM, ""},
		{
			"an error with a message", message(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS|unix.NLM_F_CAPPED, 5, slices.Concat(code(unix.EINVAL), request, msg)),
			0, true, unix.EINVAL, "in so many words (invalid argument)",
		},
		{"a dump that fails", message(unix.NLMSG_DONE, 2, 5, code(unix.EOPNOTSUPP)), 0, true, unix.EOPNOTSUPP, ""},
		{"a dump that was interrupted", slices.Concat(message(20, unix.NLM_F_DUMP_INTR, 5, nil), message(unix.NLMSG_DONE, 0, 5, code(0))), 0, true, unix.EINTR, ""},
		{"of an earlier request", slices.Concat(message(unix.NLMSG_ERROR, 0, 4, code(unix.EIO)), message(20, 0, 5, nil)), 1, false, 0, ""},
		{"too long", message(20, 0, 5, []byte("abcd"))[:18], 0, true, unix.EBADMSG, ""},
		{"too short", []byte{15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, true, unix.EBADMSG, ""},
		{"an acknowledgement of nothing", message(unix.NLMSG_ERROR, 0, 5, nil), 0, true, unix.EBADMSG, ""},
		{"a no-op", message(unix.NLMSG_NOOP, 0, 5, nil), 0, false, 0, ""},
	} {
		c := &conn{seq: 5}
		answers, end, err := c.scan(tt.b, nil)
		if end != tt.end || (tt.err == 0) != (err == nil) || err != nil && !errors.Is(err, tt.err) || err == nil && len(answers) != tt.answers {
			t.Errorf("%s: %d answers, end %v, %v", tt.name, len(answers), end, err)
		}
		if tt.says != "" && err.Error() != tt.says {
			t.Errorf("%s: %q", tt.name, err)
		}
	}
}

// FuzzScan: whatever comes, the parsers neither panic nor make something up.
func FuzzScan(f *testing.F) {
	var a attrs
	a.nest(1, func(a *attrs) { a.flag(1); a.nest(3, func(a *attrs) { a.nest(1, func(a *attrs) { a.text(2, "x") }) }) })
	f.Add(message(20, 2, 5, a))
	f.Add(message(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, 5, append(code(unix.EINVAL), a...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		answers, _, _ := (&conn{seq: 5}).scan(b, nil)
		total := 0
		for _, answer := range answers {
			total += len(answer)
			list, err := parseAttrs(answer)
			if err != nil {
				continue
			}
			parseQueue(list)
			for _, a := range list {
				a.bitset()
				a.u32s()
				_, _, _ = a.num(), a.text(), parseLease(a.nested())
				new(Link).setXDP(a.nested())
			}
		}
		if total > len(b) {
			t.Errorf("%d bytes of answers in %d", total, len(b))
		}
	})
}

// FuzzJournal: a journal may hold anything.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"header":{"version":1,"interface":"eth0","index":2,"needs":["rss"]}}` + "\n" +
		`{"record":{"seq":1,"at":5,"change":{"rings":{"Before":{"tcp_data_split":"off"},"After":{"tcp_data_split":"on"}}}}}` + "\n" +
		`{"record":{"seq":2,"at":6,"change":{"rule":{"Rule":{"location":4294967295,"match":{"proto":6,"port":80}}}}}}` + "\n" +
		`{"number":{"seq":2,"n":33}}` + "\n" + `{"undone":{"seq":2,"outcome":"restored"}}` + "\n"))
	f.Add([]byte(`{"header":{"version":1}}` + "\n" + `{"record":{"seq":1,"change":{"context":{"Queue":-1,"Entries":-5}}}}` + "\n"))
	f.Add([]byte(`{"header":{"version":1}}` + "\n" + `{"record":{"seq":1,"change":{"rss":{"Queue":1,"Before":[1,2],"After":[7]}}}}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, whole, err := parseJournal(b)
		if err != nil {
			return
		}
		if whole > len(b) {
			t.Fatalf("%d of %d bytes", whole, len(b))
		}
		m := gve(4)
		j.out = discard{}
		j.header.Driver, j.header.Queue = "gve", 1
		// What it says is done, as far as the NIC takes it, and nothing worse.
		revert(&handle{model: m}, nil, []*journal{j}, 0)
		for _, r := range j.pending() {
			r.Change.get().step("eth0")
		}
	})
}

// discard is a sink for journals that nobody reads.
type discard struct{}

func (discard) append([]byte) error  { return nil }
func (discard) replace([]byte) error { return nil }
func (discard) release() error       { return nil }
func (discard) remove() error        { return nil }

// TestCompact: a journal does not grow with the flows that have come and gone.
func TestCompact(t *testing.T) {
	m := gve(2)
	dir := m.install(t)
	was := m.snapshot()
	a := apply(t, Want{Queue: 1, JournalDir: dir, Flows: []Flow{tcpPort(80)}})
	for i := range 1000 {
		f := flowTo(TCP, "0.0.0.0:1000")
		f.Local = netip.AddrPortFrom(f.Local.Addr(), uint16(1000+i))
		must(t, a.AddFlow(f))
		must(t, a.RemoveFlow(f))
		if a.j.size > compactAt+1000 {
			t.Fatalf("%d bytes after %d flows", a.j.size, i)
		}
	}
	if n := journalsIn(t, dir); len(n) != 1 {
		t.Fatalf("journals: %v", n)
	}
	must(t, a.Verify())
	if r := restore(t, RestoreOptions{JournalDir: dir}); len(r) != 0 {
		t.Errorf("a journal that was written anew is not held: %v", r)
	}
	kill(t, a)
	restore(t, RestoreOptions{JournalDir: dir})
	m.unchanged(t, was)
	if n := journalsIn(t, dir); len(n) != 0 {
		t.Errorf("journals: %v", n)
	}
}

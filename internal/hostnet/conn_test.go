//go:build linux

package hostnet

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// msg is a netlink message of a dump.
func msg(typ, flags uint16, seq uint32, payload ...byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(payload)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), payload...)
	for len(b)%unix.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func TestAnswer(t *testing.T) {
	const link = unix.RTM_NEWLINK
	refused := int32(-int(unix.EPERM))
	code := binary.NativeEndian.AppendUint32(nil, uint32(refused))
	zero := make([]byte, 4)
	for what, c := range map[string]struct {
		datagrams [][]byte
		messages  int
		done      bool
		err       error
	}{
		"a dump":                 {[][]byte{msg(link, 0, 5, 1), cat(msg(link, 0, 5, 1, 2, 3), msg(unix.NLMSG_DONE, 0, 5, zero...))}, 2, true, nil},
		"an old kernel's end":    {[][]byte{msg(unix.NLMSG_DONE, 0, 5)}, 0, true, nil},
		"an acknowledgement":     {[][]byte{msg(unix.NLMSG_ERROR, 0, 5, zero...)}, 0, true, nil},
		"a refusal":              {[][]byte{msg(unix.NLMSG_ERROR, 0, 5, code...)}, 0, true, unix.EPERM},
		"a dump that failed":     {[][]byte{msg(link, 0, 5), msg(unix.NLMSG_DONE, 0, 5, code...)}, 1, true, unix.EPERM},
		"a mangled refusal":      {[][]byte{msg(unix.NLMSG_ERROR, 0, 5, 1)}, 0, true, unix.EBADMSG},
		"an interrupted dump":    {[][]byte{msg(link, unix.NLM_F_DUMP_INTR, 5), msg(link, 0, 5), msg(unix.NLMSG_DONE, 0, 5, zero...)}, 2, true, errInterrupted},
		"another's interruption": {[][]byte{msg(link, unix.NLM_F_DUMP_INTR, 4), msg(unix.NLMSG_DONE, 0, 5, zero...)}, 0, true, nil},
		"another's end":          {[][]byte{msg(link, 0, 5), msg(unix.NLMSG_DONE, 0, 4, zero...)}, 1, false, nil},
		"nothing yet":            {[][]byte{msg(unix.NLMSG_NOOP, 0, 5), {}, {1, 2, 3}}, 0, false, nil},
		"a message cut off":      {[][]byte{msg(link, 0, 5, 1, 2, 3, 4)[:18]}, 0, false, nil},
	} {
		got := 0
		a := answer{seq: 5, each: func(message) { got++ }}
		var done bool
		var err error
		for _, b := range c.datagrams {
			if done {
				t.Errorf("%s: done too early", what)
			}
			done, err = a.take(b)
		}
		if done != c.done || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || got != c.messages {
			t.Errorf("%s: done %v, %v, %d messages; want %v, %v, %d", what, done, err, got, c.done, c.err, c.messages)
		}
	}
}

// TestNSConnGoesOnAfterADumpGivenUp: the kernel refuses a second dump while one
// is under way.
func TestNSConnGoesOnAfterADumpGivenUp(t *testing.T) {
	l := newLAN(t)
	// Several times what the kernel puts into one piece of a dump.
	index := 0
	l.left(func(k netlink.Link) error {
		index = k.Attrs().Index
		for i := range 2000 {
			a := netip.AddrFrom4([4]byte{10, 1, byte(4 + i>>8), byte(i)})
			r := &netlink.Route{LinkIndex: index, Dst: ipNet(netip.PrefixFrom(a, 32)), Scope: netlink.SCOPE_LINK}
			if err := netlink.RouteAdd(r); err != nil {
				return err
			}
		}
		return nil
	})
	var c *conn
	in(t, l.a, func() (err error) { c, err = dial(); return err })
	defer c.close()
	body := make([]byte, unix.SizeofRtMsg)
	body[0] = unix.AF_INET
	n := 0
	dump := func() error {
		n = 0
		return c.do(unix.RTM_GETROUTE, unix.NLM_F_DUMP, body, func(message) { n++ })
	}
	whole := c.buf
	c.buf = c.buf[:100] // no piece fits, so that the dump is given up
	if err := dump(); !errors.Is(err, unix.EBADMSG) {
		t.Fatalf("a piece that does not fit: %v", err)
	}
	c.buf = whole
	if err := dump(); err != nil || n < 2000 {
		t.Errorf("the next dump: %v, %d routes", err, n)
	}
}

// TestReadPaces: what a dump costs decides when the next one may be.
func TestReadPaces(t *testing.T) {
	w := &watcher{h: new(Host)}
	const cost = 20 * time.Millisecond
	table := table{dirty: true}
	begin, calls := time.Now(), 0
	dump := func() error { calls++; time.Sleep(cost); return nil }
	if err := w.read(&table, dump); err != nil || calls != 1 || table.dirty {
		t.Fatalf("%v, %d calls, %+v", err, calls, table)
	}
	if err := w.read(&table, dump); err != nil || calls != 1 {
		t.Errorf("%v, %d calls: read though it is clean", err, calls)
	}
	table.dirty = true
	if table.due(begin.Add(rest*cost)) || !table.due(begin.Add(time.Minute)) {
		t.Errorf("due %v after a dump of %v began", table.notBefore.Sub(begin), cost)
	}
	table.notBefore = time.Time{}
	begin = time.Now()
	if err := w.read(&table, func() error { return unix.ENOMEM }); !errors.Is(err, unix.ENOMEM) || !table.dirty || table.due(begin.Add(retryInterval)) {
		t.Errorf("after a failure: %v, %+v", err, table)
	}
}

// TestSettle: a dump that is always interrupted is taken in the end.
func TestSettle(t *testing.T) {
	w := &watcher{h: new(Host)}
	table := table{dirty: true}
	for try := 1; table.dirty; try++ {
		table.notBefore = time.Time{}
		if err := w.read(&table, func() error { return w.settle(&table, errInterrupted) }); err != nil || try > maxTries {
			t.Fatalf("try %d: %v", try, err)
		}
		if table.dirty == (try == maxTries) {
			t.Errorf("try %d: %+v", try, table)
		}
	}
	if n := w.h.Stats().Failures; n != 1 {
		t.Errorf("%d failures", n)
	}
	if err := w.settle(&table, unix.ENOMEM); err != unix.ENOMEM {
		t.Errorf("another error became %v", err)
	}
}

package zctap_test

import (
	"net"
	"runtime"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/testenv"
)

// TestIdleMemory: what an idle connection of engine user takes, both ends of it having
// sent and received something, with all that belongs to it.
func TestIdleMemory(t *testing.T) {
	n := scale(10_000, 1000)
	a, b, err := zctap.OpenPair(zctap.Config{}, zctap.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	l, err := a.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	connect := func(n int) (all []*zctap.Conn) {
		for range n {
			c, err := b.Dial("tcp", net.JoinHostPort(pairA4.String(), "80"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := l.AcceptZC()
			if err != nil {
				t.Fatal(err)
			}
			exchange(t, c, s)
			exchange(t, s, c)
			all = append(all, c, s)
		}
		return all
	}
	warm := connect(100)
	before := testenv.HeapInUse()
	all := connect(n)
	each := (testenv.HeapInUse() - before) / int64(2*n)
	t.Logf("%d idle connections: %d bytes each", 2*n, each)
	if each > 2048 {
		t.Errorf("an idle connection takes %d bytes, want 2048 at most", each)
	}
	runtime.KeepAlive(warm)
	for _, c := range append(all, warm...) {
		c.Close()
	}
}

// exchange sends something from one end to the other.
func exchange(t *testing.T, from, to *zctap.Conn) {
	t.Helper()
	p := []byte("a request or an answer")
	if _, err := from.Write(p); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < len(p); {
		n, err := to.Read(p[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
}

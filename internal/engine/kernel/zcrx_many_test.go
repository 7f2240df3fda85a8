//go:build linux

package kernel

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// manyConns is what one ring has to serve, if the process may have so many
// descriptors.
func manyConns(t *testing.T) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return min(10_000, int(limit.Max)-500)
}

// Ten thousand connections on one ring, all with payload, and nobody reads: each
// costs little memory, none keeps others from theirs, and no byte is lost.
func TestZCRXManyConnections(t *testing.T) {
	n := manyConns(t)
	const size, most = 3000, 3 << 10
	tune := func(t *tuning) { t.windows = true }
	w := zcrxOn(t, options{buffers: 8192, tune: tune}, device, uringtest.Options{Device: true, Chunk: 1448})
	ln := w.listen(0)
	before := heap()
	gate := make(chan struct{}, 256)
	var wg sync.WaitGroup
	go func() {
		for range n {
			gate <- struct{}{}
			wg.Go(func() {
				defer func() { <-gate }()
				p, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(ln.Addr()))
				if err == nil {
					err = send(p, size)
					p.Close()
				}
				if err != nil {
					w.Error(err)
				}
			})
		}
	}()
	conns := make([]engine.Conn, n)
	for i := range conns {
		conns[i] = w.accept(ln)
	}
	wg.Wait()
	perConn := (int64(heap()) - int64(before)) / int64(n)
	s := w.stats()
	t.Logf("%d connections, %d bytes of heap for each; %d of %d buffers free, events %v", s.Conns, perConn, w.pool.FreeLent(), w.pool.Lent(), s.Events)
	if s.Conns != n || perConn > most {
		w.Errorf("%d connections, with %d bytes of heap each", s.Conns, perConn)
	}
	// Many at a time: each round of the kernel that the test plays looks at all.
	next := make(chan engine.Conn)
	for range 256 {
		wg.Go(func() {
			for c := range next {
				if got, err := w.receive(c, 0); got != size || err != io.EOF {
					w.Errorf("received %d bytes, then %v", got, err)
				}
				if err := closeConn(c); err != nil {
					w.Error(err)
				}
			}
		})
	}
	for _, c := range conns {
		next <- c
	}
	close(next)
	wg.Wait()
	w.wantReturned()
}

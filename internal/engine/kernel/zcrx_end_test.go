//go:build linux

package kernel

import (
	"errors"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/uring"
	"github.com/zctap/zctap/internal/uring/uringtest"
)

// More completions than the queue holds: requests end with ENOSPC and are made
// again; nothing is lost or repeated.
func TestZCRXQueueFull(t *testing.T) {
	small := func(t *tuning) { t.sqEntries, t.cqEntries = 2, 2 }
	eachZCRX(t, options{tune: small}, func(w *world) {
		const n, size = 30, 300_000
		conns, wait := w.crowd(n, size)
		w.receiveAll(conns, size)
		wait()
		if w.received() != n*size || w.event("completion-queue-full") == 0 {
			w.Errorf("%d bytes counted, want %d, with %d requests that found the queue full", w.received(), n*size, w.event("completion-queue-full"))
		}
		w.wantReturned()
	})
}

// The kernel finds no buffer to copy to: requests end with ENOMEM, and go on when
// there are some.
func TestZCRXNoBufferToCopyTo(t *testing.T) {
	w := zcrxOn(t, options{buffers: 16}, noDevice, uringtest.Options{})
	const n, size = 20, 200_000
	conns, wait := w.crowd(n, size)
	w.settle("the area is used up", func() bool { return w.pool.FreeLent() < 8 })
	w.receiveAll(conns, size)
	wait()
	if got := w.received(); got != n*size {
		w.Errorf("%d bytes counted, want %d", got, n*size)
	}
	w.wantReturned()
}

// On kernels that stop a request in the middle and say nothing, connections go on
// all the same: when the completion queue was full, or the area.
func TestZCRXStalls(t *testing.T) {
	cases := []struct {
		name string
		z    ZCRXOptions
		k    uringtest.Options
		o    options
	}{
		{"queue", noDevice, uringtest.Options{}, options{tune: func(t *tuning) { t.sqEntries, t.cqEntries = 2, 2 }}},
		{"queue-device", device, uringtest.Options{Device: true, Chunk: 1448}, options{tune: func(t *tuning) { t.sqEntries, t.cqEntries = 2, 2 }}},
		{"area", noDevice, uringtest.Options{}, options{buffers: 4}},
		{"area-chunks", noDevice, uringtest.Options{Chunk: 300}, options{buffers: 8}},
	}
	// A reader that returns everything in time keeps the kernel from stopping a
	// request: then again.
	kicked := uint64(0)
	for attempt := 0; kicked == 0; attempt++ {
		if attempt == 20 {
			t.Fatal("no request was made anew")
		}
		for _, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				tc.k.Stalls = true
				w := zcrxOn(t, tc.o, tc.z, tc.k)
				const n, size = 20, 100_000
				conns, wait := w.crowd(n, size)
				w.receiveAll(conns, size)
				wait()
				kicked += w.event("kicked")
				w.wantReturned()
			})
		}
	}
}

// faulty fails the receives of a connection once, with errno.
type faulty struct {
	mu    sync.Mutex
	errno unix.Errno
	n     int // more times
}

func (f *faulty) set(errno unix.Errno, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errno, f.n = errno, n
}

func (f *faulty) fault(sqe uring.SQE) unix.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if sqe.Opcode != uring.OpRecvZC || f.n == 0 {
		return 0
	}
	f.n--
	return f.errno
}

// Each end of a request is told from the others: some are of the connection,
// and reach the reader explained; after others it goes on.
func TestZCRXTerminations(t *testing.T) {
	for _, tc := range []struct {
		errno unix.Errno
		times int
		fatal bool
		text  string
	}{
		{unix.ENOMEM, 1, false, ""},
		{unix.ENOMEM, 5, false, ""},
		{unix.ENOSPC, 3, false, ""},
		{unix.ECANCELED, 3, false, ""},
		{unix.EINTR, 1, false, ""},
		{unix.EAGAIN, 1, false, ""},
		{unix.EFAULT, 1, true, "steered"},
		{unix.EPROTONOSUPPORT, 1, true, "recv"},
		{unix.ENOTCONN, 1, true, "recv"},
		{unix.ECONNRESET, 1, true, "recv"},
		{unix.ETIMEDOUT, 1, true, "recv"},
	} {
		t.Run(tc.errno.Error(), func(t *testing.T) {
			f := &faulty{}
			w := zcrxOn(t, options{}, noDevice, uringtest.Options{Fault: f.fault})
			f.set(tc.errno, tc.times)
			c, p := w.connect()
			const size = 500_000
			wait := w.sender(p, size)
			got, err := w.receive(c, 0)
			if !tc.fatal {
				if got != size || err != io.EOF {
					w.Errorf("received %d of %d, then %v", got, size, err)
				}
				wait()
				w.wantReturned()
				return
			}
			if !errors.Is(err, syscall.Errno(tc.errno)) || !strings.Contains(err.Error(), tc.text) {
				w.Errorf("received %d, then %v", got, err)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.Errno(tc.errno)) && err != nil {
				w.Errorf("Write: %v", err)
			}
			w.ok(closeConn(c))
			io.Copy(io.Discard, p)
			p.Close()
		})
	}
}

// A credit that ends exactly at the end of the stream, or one byte around it, is
// not taken for the end, nor the end for a credit.
func TestZCRXCreditAndEnd(t *testing.T) {
	eachZCRX(t, options{}, func(w *world) {
		first := int64(firstGrant * 4096)
		for _, size := range []int64{first - 1, first, first + 1, 3 * first, 3*first + 1} {
			c, p := w.connect()
			wait := w.sender(p, size)
			w.wantEOF(c, size)
			wait()
			w.ok(closeConn(c))
		}
		w.wantReturned()
	})
}

//go:build linux

package uring

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience bounds how long a test waits for what must come; nothing is measured by it.
const patience = 20 * time.Second

// variants are the kinds of ring on which the tests of requests run: what zctap's engines use, and a plain one.
var variants = []struct {
	name string
	p    Params
}{
	{"plain", Params{}},
	{"coop", Params{Flags: SetupCoopTaskrun | SetupTaskrunFlag | SetupSubmitAll}},
	{"defer", Params{Flags: SetupSingleIssuer | SetupDeferTaskrun}},
	{"defer, no array, big CQEs", Params{Flags: SetupSingleIssuer | SetupDeferTaskrun | SetupNoSQArray | SetupCQE32}},
	{"defer, mixed CQEs", Params{Flags: SetupSingleIssuer | SetupDeferTaskrun | SetupTaskrunFlag | SetupCQEMixed}},
}

// onVariants runs f for each kind of ring, on a thread of its own.
func onVariants(t *testing.T, entries uint32, f func(t *testing.T, r *Ring)) {
	t.Helper()
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) { f(t, newRing(t, entries, v.p)) })
	}
}

// newRing makes a ring that the calling test's thread owns until the test ends. A kernel that lacks a feature ends the test.
func newRing(t testing.TB, entries uint32, p Params) *Ring {
	t.Helper()
	testenv.NeedIOUring(t)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r, err := New(entries, p)
	if errors.Is(err, ErrNotSupported) {
		testenv.SkipOrFail(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s := r.Stats(); s != (Stats{}) {
			t.Errorf("counters at the end: %+v", s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func needFeature(t testing.TB, f Feature) {
	t.Helper()
	testenv.NeedIOUring(t)
	if err := Have(f); errors.Is(err, ErrNotSupported) {
		testenv.SkipOrFail(t, "%v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

func push(t testing.TB, r *Ring, sqes ...SQE) {
	t.Helper()
	for _, sqe := range sqes {
		if err := r.Push(sqe); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// next returns the next completion, submitting what is pending and waiting for it as long as it takes.
func next(t testing.TB, r *Ring) CQE {
	t.Helper()
	var c [1]CQE
	for deadline := time.Now().Add(patience); ; {
		if r.Reap(c[:]) == 1 {
			return c[0]
		}
		if time.Now().After(deadline) {
			t.Fatal("no completion came")
		}
		if _, err := r.Enter(1, time.Second); err != nil && !Busy(err) {
			t.Fatal(err)
		}
	}
}

// expect returns the next completion, which must have this user data and result.
func expect(t testing.TB, r *Ring, userData uint64, res int32) CQE {
	t.Helper()
	c := next(t, r)
	if c.UserData != userData || c.Res != res {
		t.Fatalf("completion %d with result %d (%v), want %d with %d", c.UserData, c.Res, c.Err(), userData, res)
	}
	return c
}

// collect returns the next n completions by user data.
func collect(t testing.TB, r *Ring, n int) map[uint64][]CQE {
	t.Helper()
	all := make(map[uint64][]CQE)
	for range n {
		c := next(t, r)
		all[c.UserData] = append(all[c.UserData], c)
	}
	return all
}

// memory maps n bytes that Go does not move, until the test ends.
func memory(t testing.TB, n int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	must(t, err)
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

// keep closes fd when the test ends.
func keep(t testing.TB, fd int) int {
	t.Helper()
	if fd < 0 {
		t.Fatalf("descriptor %d", fd)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// streamPair returns two connected blocking stream sockets.
func streamPair(t testing.TB) (a, b int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return keep(t, pair[0]), keep(t, pair[1])
}

// inet4 makes a blocking socket of the given type bound to 127.0.0.1 and returns it with its address.
func inet4(t testing.TB, typ int) (fd int, addr netip.AddrPort) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	keep(t, fd)
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	sa, err := unix.Getsockname(fd)
	must(t, err)
	return fd, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
}

// listener returns a blocking TCP listener on 127.0.0.1.
func listener(t testing.TB) (fd int, addr netip.AddrPort) {
	t.Helper()
	fd, addr = inet4(t, unix.SOCK_STREAM)
	must(t, unix.Listen(fd, 64))
	return fd, addr
}

// dial connects a new blocking TCP socket to addr.
func dial(t testing.TB, addr netip.AddrPort) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	keep(t, fd)
	must(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}))
	return fd
}

// writeAll writes all of b to fd, as a goroutine beside the ring's thread can.
func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// async runs f beside the test, which fails if f returns an error and does not end before f has.
func async(t testing.TB, f func() error) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(wg.Wait)
}

// awaitBlocked returns when thread tid sits in io_uring_enter. Linux shows the system call a thread is in, and "running" when
// it is in none.
func awaitBlocked(t testing.TB, tid int) {
	t.Helper()
	path := fmt.Sprintf("/proc/self/task/%d/syscall", tid)
	want := fmt.Sprintf("%d ", unix.SYS_IO_URING_ENTER)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		b, err := os.ReadFile(path)
		if err != nil {
			testenv.SkipOrFail(t, "cannot see what a thread does: %v", err)
			return
		}
		if strings.HasPrefix(string(b), want) {
			return
		}
	}
	t.Fatal("the thread never waited in io_uring_enter")
}

// pattern returns n bytes of which no two stretches are alike for long.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

//go:build linux

package uring

import (
	"errors"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

func TestNewSizes(t *testing.T) {
	for _, tc := range []struct {
		name    string
		entries uint32
		p       Params
		sq, cq  int
	}{
		{"default", 8, Params{}, 8, 16},
		{"rounded up", 5, Params{}, 8, 16},
		{"own CQ size", 4, Params{CQEntries: 64}, 4, 64},
		{"own CQ size, rounded up", 4, Params{Flags: SetupCQSize, CQEntries: 33}, 4, 64},
		{"clamped", 1 << 20, Params{Flags: SetupClamp}, 32768, 65536},
		{"big CQEs", 8, Params{Flags: SetupCQE32}, 8, 16},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRing(t, tc.entries, tc.p)
			if r.SQEntries() != tc.sq || r.CQEntries() != tc.cq {
				t.Errorf("queues of %d and %d, want %d and %d", r.SQEntries(), r.CQEntries(), tc.sq, tc.cq)
			}
		})
	}
}

func TestNewRefusesParams(t *testing.T) {
	for _, tc := range []struct {
		name    string
		entries uint32
		p       Params
		want    string
	}{
		{"no entries", 0, Params{}, "at least one entry"},
		{"SQPOLL", 8, Params{Flags: 1 << 1}, "not for this package"},
		{"128 byte SQEs", 8, Params{Flags: 1 << 10}, "not for this package"},
		{"CQSIZE without size", 8, Params{Flags: SetupCQSize}, "CQEntries"},
		{"DEFER_TASKRUN alone", 8, Params{Flags: SetupDeferTaskrun}, "SetupSingleIssuer"},
		{"TASKRUN_FLAG alone", 8, Params{Flags: SetupTaskrunFlag}, "SetupCoopTaskrun"},
		{"both CQE sizes", 8, Params{Flags: SetupCQE32 | SetupCQEMixed}, "exclude"},
	} {
		r, err := New(tc.entries, tc.p)
		if err == nil {
			r.Close()
			t.Errorf("%s: went through", tc.name)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error is %q, want one with %q", tc.name, err, tc.want)
		}
	}
}

// TestNewExplainsEINVAL has the kernel refuse rings, and looks for the reason in the message.
func TestNewExplainsEINVAL(t *testing.T) {
	testenv.NeedIOUring(t)
	// A size that only CLAMP would allow: no flag is to blame.
	_, err := New(math.MaxUint32, Params{Flags: SetupCoopTaskrun})
	if !errors.Is(err, unix.EINVAL) || errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "sizes") {
		t.Errorf("too large: %v", err)
	}
	// A flag that no kernel has yet stands in for one that this kernel lacks.
	const unborn SetupFlags = 1 << 31
	table := setupFlagTable
	defer func() { setupFlagTable = table }()
	entry := table[0]
	entry.flag, entry.name, entry.since = unborn, "UNBORN", "99.9"
	setupFlagTable = append(table[:len(table):len(table)], entry)
	_, err = New(8, Params{Flags: unborn | SetupCoopTaskrun})
	if !errors.Is(err, unix.EINVAL) || !errors.Is(err, ErrNotSupported) || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("unknown flag: %v", err)
	}
	if !strings.Contains(err.Error(), "does not know UNBORN (Linux 99.9)") {
		t.Errorf("unknown flag: the message does not name it: %v", err)
	}
}

func TestSetupFlagsString(t *testing.T) {
	for f, want := range map[SetupFlags]string{
		0:                                     "0x0",
		SetupCQE32:                            "CQE32",
		SetupDeferTaskrun | SetupSingleIssuer: "SINGLE_ISSUER|DEFER_TASKRUN",
		SetupCQEMixed | 1<<30:                 "CQE_MIXED|0x40000000",
	} {
		if got := f.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(f), got, want)
		}
	}
}

func TestExplainForbidden(t *testing.T) {
	for _, tc := range []struct {
		name  string
		errno unix.Errno
		s     switches
		want  string
	}{
		{"sysctl 2", unix.EPERM, switches{sysctl: "2", seccomp: "0"}, "kernel.io_uring_disabled=0"},
		{"sysctl 2 and a filter", unix.EPERM, switches{sysctl: "2", seccomp: "2"}, "kernel.io_uring_disabled=0"},
		{"sysctl 1", unix.EPERM, switches{sysctl: "1", seccomp: "0"}, "kernel.io_uring_group"},
		{"filter says EPERM", unix.EPERM, switches{sysctl: "0", seccomp: "2"}, "seccomp filter forbids"},
		{"security module", unix.EPERM, switches{sysctl: "0", seccomp: "0"}, "security module"},
		{"filter says ENOSYS", unix.ENOSYS, switches{sysctl: "0", seccomp: "2"}, "seccomp filter hides it: allow"},
		{"filter or old kernel", unix.ENOSYS, switches{seccomp: "2"}, "or a seccomp filter hides it"},
		{"sandbox", unix.ENOSYS, switches{sysctl: "0", seccomp: "0"}, "sandbox"},
		{"old kernel", unix.ENOSYS, switches{seccomp: "0"}, "the kernel lacks io_uring"},
	} {
		if got := explainForbidden(tc.errno, tc.s); !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want one with %q", tc.name, got, tc.want)
		}
	}
}

func TestCloseEndsTheRing(t *testing.T) {
	testenv.NeedIOUring(t)
	r, err := New(8, Params{})
	must(t, err)
	br, err := r.NewBufRing(BufRingConfig{Entries: 4})
	if err != nil {
		t.Error(err)
	}
	w := r.Waker(1, 0)
	fd, maps := r.FD(), ringMappings(t)
	if maps != 3 { // both queues, the SQEs, the buffer ring
		t.Errorf("%d mappings of a ring with a buffer ring, want 3", maps)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("descriptor after Close: %v", err)
	}
	if n := ringMappings(t); n != 0 {
		t.Errorf("%d mappings after Close", n)
	}
	_, probeErr := r.Probe()
	_, bufRingErr := r.NewBufRing(BufRingConfig{Entries: 4})
	_, consumeErr := br.Consume(nil, completion(1, 0, 0))
	for name, err := range map[string]error{
		"Push":              r.Push(Nop(1)),
		"PushTimeout":       r.PushTimeout(1, 0, 1),
		"Enable":            r.Enable(),
		"RegisterEventfd":   r.RegisterEventfd(0),
		"UnregisterEventfd": r.UnregisterEventfd(),
		"RegisterRingFD":    r.RegisterRingFD(),
		"Probe":             probeErr,
		"NewBufRing":        bufRingErr,
		"Wake":              w.Wake(),
		"Add":               br.Add(1, 1, 1),
		"Consume":           consumeErr,
	} {
		if !errors.Is(err, ErrClosed) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if _, err := r.Submit(); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit after Close: %v", err)
	}
	if _, err := r.Enter(1, -1); !errors.Is(err, ErrClosed) {
		t.Errorf("Enter after Close: %v", err)
	}
	if n := r.Reap(make([]CQE, 1)); n != 0 || r.Ready() != 0 || r.Pending() != 0 || r.Overflowing() || r.Stats() != (Stats{}) {
		t.Errorf("a closed ring has something to tell")
	}
	br.Publish()
	if err := br.Close(); err != nil {
		t.Errorf("closing the buffer ring of a closed ring: %v", err)
	}
}

// ringMappings counts the mappings of io_uring descriptors in this process.
func ringMappings(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	must(t, err)
	return strings.Count(string(b), "anon_inode:[io_uring]")
}

// TestDisabledRing makes a ring on one thread and enables it on another, which so becomes its issuer.
func TestDisabledRing(t *testing.T) {
	r := newRing(t, 8, Params{Flags: SetupRDisabled | SetupSingleIssuer | SetupDeferTaskrun})
	push(t, r, Nop(1))
	if _, err := r.Submit(); !errors.Is(err, unix.EBADFD) || !strings.Contains(err.Error(), "Enable") {
		t.Fatalf("submitting to a disabled ring: %v", err)
	}
	if n := r.Pending(); n != 1 {
		t.Fatalf("%d requests pending after the failure, want 1", n)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked: a thread that was issuer is not for others
		if err := r.Enable(); err != nil {
			t.Error(err)
			return
		}
		if n, err := r.Enter(1, -1); n != 1 || err != nil {
			t.Errorf("the issuer submitted %d: %v", n, err)
		}
		var c [2]CQE
		if n := r.Reap(c[:]); n != 1 || c[0].UserData != 1 || c[0].Res != 0 {
			t.Errorf("reaped %d: %+v", n, c[:n])
		}
	}()
	<-done
	push(t, r, Nop(2))
	if _, err := r.Submit(); !errors.Is(err, unix.EEXIST) {
		t.Errorf("submitting from the thread that is not the issuer: %v", err)
	}
}

func TestRegisteredRingFD(t *testing.T) {
	r := newRing(t, 8, Params{})
	if err := r.UnregisterRingFD(); err == nil {
		t.Error("unregistering what was never registered went through")
	}
	must(t, r.RegisterRingFD())
	if err := r.RegisterRingFD(); err == nil {
		t.Error("registering twice went through")
	}
	push(t, r, Nop(1))
	expect(t, r, 1, 0)

	closed := make(chan error)
	go func() {
		runtime.LockOSThread()
		closed <- r.Close()
	}()
	if err := <-closed; err == nil {
		t.Fatal("Close from another thread went through")
	}
	push(t, r, Nop(2)) // and changed nothing
	expect(t, r, 2, 0)
	must(t, r.UnregisterRingFD())
	push(t, r, Nop(3))
	expect(t, r, 3, 0)
	must(t, r.RegisterRingFD())
}

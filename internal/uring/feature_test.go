//go:build linux

package uring

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/testenv"
)

// newKernels are the features that ordinary machines need not have: TestLabHave insists on them.
func newKernels(f Feature) bool { return f >= ZCRX || f == MixedCQEs }

// TestHave asks for every feature: each must have an answer, and one that agrees with what the kernel says of itself.
func TestHave(t *testing.T) {
	testenv.NeedIOUring(t)
	for _, f := range AllFeatures() {
		t.Run(f.String(), func(t *testing.T) {
			err := Have(f)
			if f == ZCRXNoStall && Have(ZCRXNoDevice) != nil {
				if err == nil || errors.Is(err, ErrNotSupported) {
					t.Fatalf("an answer without a trial: %v", err)
				}
				return
			}
			if err != nil && !errors.Is(err, ErrNotSupported) {
				t.Fatalf("no answer: %v", err)
			}
			if again := Have(f); again != err {
				t.Errorf("first %v, then %v", err, again)
			}
			switch {
			case err == nil:
			case newKernels(f):
				t.Logf("not here: %v", err)
			default:
				testenv.SkipOrFail(t, "%v", err)
			}
		})
	}
	if err := Have(featureCount); err == nil || errors.Is(err, ErrNotSupported) {
		t.Errorf("a feature that does not exist: %v", err)
	}
	r := newRing(t, 4, Params{})
	if says, err := r.Features()&FeatRecvSendBundle != 0, Have(BundleRecv); says != (err == nil) {
		t.Errorf("the kernel says of bundles %v, the probe %v", says, err)
	}
}

// TestProbeZCRXOnOneThread has the probe made by goroutines that others drive from one thread to the next.
func TestProbeZCRXOnOneThread(t *testing.T) {
	testenv.NeedIOUring(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if err := probeZCRX(); err != nil && !errors.Is(err, ErrNotSupported) {
					t.Errorf("no answer: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestOutcome: yes and no are remembered, a failure to find out is not.
func TestOutcome(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		calls int
	}{
		{"yes", nil, 1},
		{"no", fmt.Errorf("old kernel: %w", ErrNotSupported), 1},
		{"inconclusive", unix.ENFILE, 3},
	} {
		var o outcome
		calls := 0
		for range 3 {
			if err := o.get(func() error { calls++; return tc.err }); err != tc.err {
				t.Errorf("%s: got %v", tc.name, err)
			}
		}
		if calls != tc.calls {
			t.Errorf("%s: probed %d times, want %d", tc.name, calls, tc.calls)
		}
	}
}

// TestHaveNames: what Have adds to the reason that a probe gives.
func TestHaveNames(t *testing.T) {
	const f = IncrementalBuffers
	saved := featureProbes[f].probe
	featureCache[f] = outcome{}
	t.Cleanup(func() {
		featureProbes[f].probe = saved
		featureCache[f] = outcome{}
	})
	for _, tc := range []struct {
		probed error
		want   string
	}{
		{unix.ENOMEM, "incremental provided buffers: could not find out: cannot allocate memory"},
		{fmt.Errorf("refused: %w", ErrNotSupported), "incremental provided buffers (Linux 6.12): refused: uring: unsupported operation"},
	} {
		featureProbes[f].probe = func() error { return tc.probed }
		if err := Have(f); !errors.Is(err, tc.probed) || err.Error() != tc.want {
			t.Errorf("got %q, want %q", err, tc.want)
		}
	}
}

// TestHaveIsInconclusive takes away what a probe needs: it must not call that a lack of the kernel.
func TestHaveIsInconclusive(t *testing.T) {
	testenv.NeedIOUring(t)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: old.Max}))
	err := probeBasic()
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	if !errors.Is(err, unix.EMFILE) || errors.Is(err, ErrNotSupported) {
		t.Errorf("without descriptors: %v", err)
	}
}

func TestJudgeRecv(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		c    CQE
		err  error
		want error // nil: yes
	}{
		{"yes", CQE{Res: 20}, nil, nil},
		{"no", CQE{Res: -int32(unix.EINVAL)}, nil, ErrNotSupported},
		{"too little", CQE{Res: 10}, nil, errors.New("")},
		{"another errno", CQE{Res: -int32(unix.ENOMEM)}, nil, unix.ENOMEM},
		{"never tried", CQE{}, broken, broken},
	} {
		got := judgeRecv(tc.c, tc.err, 20)
		if (got == nil) != (tc.want == nil) {
			t.Errorf("%s: %v", tc.name, got)
		}
		if tc.want != nil && tc.want.Error() != "" && !errors.Is(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
		if errors.Is(got, ErrNotSupported) != (tc.want == ErrNotSupported) {
			t.Errorf("%s: %v: is a no: %v", tc.name, got, errors.Is(got, ErrNotSupported))
		}
	}
	if s := Feature(99).String(); !strings.Contains(s, "99") {
		t.Errorf("unknown feature is called %q", s)
	}
}

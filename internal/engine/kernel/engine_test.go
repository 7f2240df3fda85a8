//go:build linux

package kernel

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
	"github.com/zctap/zctap/internal/uring"
)

func newConfig(t *testing.T, buffers int) engine.Config {
	t.Helper()
	region, err := buf.NewRegion(buf.RegionConfig{Buffers: buffers})
	if err != nil {
		t.Fatal(err)
	}
	pool := buf.NewPool(region)
	t.Cleanup(func() {
		pool.Close()
		if !pool.Remove() {
			t.Error("buffers are left in the engine")
		}
	})
	return engine.Config{Pool: pool, CQ: sockq.NewCQ()}
}

func TestNewErrors(t *testing.T) {
	good := newConfig(t, 16)
	for _, tc := range []struct {
		name string
		cfg  engine.Config
		o    Options
	}{
		{"no pool", engine.Config{CQ: good.CQ}, Options{}},
		{"no completion queue", engine.Config{Pool: good.Pool}, Options{}},
		{"negative limit", engine.Config{Pool: good.Pool, CQ: good.CQ, MaxHeld: -1}, Options{}},
		{"unknown backend", good, Options{Backend: "iocp"}},
	} {
		if e, err := New(tc.cfg, tc.o); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v, %v", tc.name, e, err)
		}
	}
}

// The best backend that works runs, and says why.
func TestBackendChoice(t *testing.T) {
	can := errors.Join(uring.Have(uring.Basic), uring.Have(uring.MultishotRecv)) == nil
	for _, tc := range []struct {
		ask, want, why string
		fails          bool
	}{
		{ask: BackendReadv, want: BackendReadv, why: "asked for"},
		{ask: BackendURing, want: BackendURing, why: "asked for", fails: !can},
		{ask: "", want: map[bool]string{true: BackendURing, false: BackendReadv}[can], why: "io_uring"},
	} {
		e, err := New(newConfig(t, 16), Options{Backend: tc.ask})
		if tc.fails {
			if err == nil {
				t.Errorf("%q: runs, without what it needs", tc.ask)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, why := e.Backend(); got != tc.want || !strings.Contains(why, tc.why) || e.Name() != "copy" {
			t.Errorf("%q: %s because %q", tc.ask, got, why)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A backend that can't be opened makes way for the next, with the reason; asked
// for alone it is the error.
func TestBackendFallback(t *testing.T) {
	broken := candidate{name: "broken", reason: "", open: func(*loop) (backend, error) { return nil, syscall.ENOSYS }}
	start := func(candidates ...candidate) (*Engine, error) {
		cfg := newConfig(t, 16)
		return start(cfg, candidates, defaults(cfg, Options{}))
	}
	e, err := start(broken, readvCandidate)
	if err != nil {
		t.Fatal(err)
	}
	if got, why := e.Backend(); got != BackendReadv || !strings.Contains(why, syscall.ENOSYS.Error()) {
		t.Errorf("%s because %q", got, why)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if e, err := start(broken); !errors.Is(err, syscall.ENOSYS) {
		t.Errorf("%v, %v", e, err)
	}
}

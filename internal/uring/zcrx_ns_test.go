//go:build linux

package uring

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// TestZCRXRingKinds: a ring that cannot have interface queues says what it lacks.
func TestZCRXRingKinds(t *testing.T) {
	for _, flags := range []SetupFlags{0, SetupSingleIssuer | SetupDeferTaskrun, SetupCQE32} {
		r := newRing(t, 4, Params{Flags: flags})
		if _, err := r.RegisterZCRX(ZCRXConfig{Interface: 1, Area: Area{Memory: memory(t, page)}, RefillEntries: 4}); err == nil || errors.Is(err, ErrNotSupported) {
			t.Errorf("%v: %v", flags, err)
		}
	}
}

// TestNSZCRXInterfaces: what the kernel says of interfaces that have no device, and which of it is final.
func TestNSZCRXInterfaces(t *testing.T) {
	testenv.NeedRoot(t)
	if err := Have(ZCRX); err != nil {
		testenv.SkipOrFail(t, "%v", err)
	}
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() { must(t, ns.Close()) })
	other, err := netns.New()
	must(t, err)
	t.Cleanup(func() { must(t, other.Close()) })
	must(t, netns.Veth(ns, other, netns.VethOptions{NameA: "veth0", NameB: "veth1"}))
	must(t, ns.Do(func() error {
		area := memory(t, 4*page)
		veth, err := net.InterfaceByName("veth0")
		if err != nil {
			return err
		}
		for _, v := range zcrxRings {
			r, err := New(4, Params{Flags: v.flags})
			if errors.Is(err, ErrNotSupported) {
				t.Logf("not here: %v", err) // completions of two sizes, before 6.18
				continue
			}
			if err != nil {
				return err
			}
			for _, tc := range []struct {
				name string
				c    ZCRXConfig
				want unix.Errno
				no   bool
			}{
				{"loopback", ZCRXConfig{Interface: 1}, unix.EOPNOTSUPP, true},
				{"buffers of a page", ZCRXConfig{Interface: 1, BufferSize: page}, unix.EOPNOTSUPP, true},
				{"veth", ZCRXConfig{Interface: veth.Index, Queue: 0}, unix.EOPNOTSUPP, true},
				{"no interface", ZCRXConfig{Interface: 1 << 20, Queue: 1}, unix.ENODEV, false},
			} {
				tc.c.Area, tc.c.RefillEntries = Area{Memory: area}, 64
				for _, own := range [][]byte{nil, memory(t, RefillSize(64))} {
					tc.c.RefillMemory = own
					for i := range own {
						own[i] = 0x5a
					}
					q, err := r.RegisterZCRX(tc.c)
					if len(own) > 0 && !bytes.Equal(own, make([]byte, len(own))) {
						t.Errorf("%s: a refill ring was registered with what was in it", tc.name) // older kernels go on from there
					}
					if q != nil || !errors.Is(err, tc.want) || errors.Is(err, ErrNotSupported) != tc.no {
						t.Errorf("%s, %s: %v, want %v", v.name, tc.name, err, tc.want)
					}
				}
			}
			for name, c := range map[Feature]ZCRXConfig{
				ZCRXNoDevice:   {NoDevice: true},
				ZCRXBufferSize: {Interface: 1, BufferSize: 2 * page},
				ZCRXNotices:    {Interface: 1, Events: ZCRXCopied},
			} {
				if Have(name) == nil {
					continue
				}
				c.Area, c.RefillEntries = Area{Memory: area}, 64
				if _, err := r.RegisterZCRX(c); !errors.Is(err, unix.EINVAL) || !errors.Is(err, ErrNotSupported) {
					t.Errorf("%s, %v, which this kernel lacks: %v", v.name, name, err)
				}
			}
			if err := r.Close(); err != nil {
				return err
			}
		}
		return nil
	}))
}

// TestZCRXPrivilege: without CAP_NET_ADMIN the kernel refuses, and the error says what to do.
func TestZCRXPrivilege(t *testing.T) {
	if err := Have(ZCRX); err != nil && !errors.Is(err, unix.EPERM) {
		testenv.SkipOrFail(t, "%v", err)
	}
	area := memory(t, page)
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends without its capabilities
		if err := dropCapabilities(unix.CAP_NET_ADMIN); err != nil {
			done <- err
			return
		}
		r, err := New(4, Params{Flags: zcrxRings[0].flags})
		if err != nil {
			done <- err
			return
		}
		_, err = r.RegisterZCRX(ZCRXConfig{Interface: 1, Area: Area{Memory: area}, RefillEntries: 4})
		done <- errors.Join(err, r.Close(), probeZCRX())
	}()
	if err := <-done; !errors.Is(err, unix.EPERM) || !errors.Is(err, ErrNotSupported) {
		t.Errorf("without the privilege: %v", err)
	} else {
		t.Log(err)
	}
}

// TestLabZCRXMemlock: without CAP_IPC_LOCK an area that is larger than RLIMIT_MEMLOCK is refused, and said to be.
func TestLabZCRXMemlock(t *testing.T) {
	needLab(t, ZCRX, ZCRXNoDevice)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 256 << 10, Max: old.Max}))
	defer unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old)
	small, large := memory(t, 64<<10), memory(t, 512<<10)
	done := make(chan [2]error)
	go func() {
		runtime.LockOSThread()
		var errs [2]error
		defer func() { done <- errs }()
		if errs[0] = dropCapabilities(unix.CAP_IPC_LOCK); errs[0] != nil {
			return
		}
		r, err := New(4, Params{Flags: zcrxRings[0].flags})
		if err != nil {
			errs[0] = err
			return
		}
		for i, mem := range [][]byte{small, large} {
			_, errs[i] = r.RegisterZCRX(ZCRXConfig{NoDevice: true, Area: Area{Memory: mem}, RefillEntries: 4})
		}
		errs[0] = errors.Join(errs[0], r.Close())
	}()
	if errs := <-done; errs[0] != nil || !errors.Is(errs[1], unix.ENOMEM) {
		t.Errorf("within the limit: %v; beyond it: %v", errs[0], errs[1])
	}
}

// dropCapabilities takes capabilities from the calling thread.
func dropCapabilities(capabilities ...int) error {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return err
	}
	for _, c := range capabilities {
		d[c/32].Effective &^= 1 << (c % 32)
	}
	return unix.Capset(&h, &d[0])
}

// TestQueryKernel: the kernel's own account agrees with what it does.
func TestQueryKernel(t *testing.T) {
	testenv.NeedIOUring(t)
	q, err := QueryKernel()
	if errors.Is(err, ErrNotSupported) {
		testenv.SkipOrFail(t, "%v", err)
	}
	must(t, err)
	if q.RequestOps <= int(OpMsgRing) || q.RegisterOps <= registerQuery || q.QueryOps < 1 || q.Setup&SetupDeferTaskrun == 0 || q.Features&FeatSubmitStable == 0 {
		t.Errorf("%+v", q)
	}
	if knows, err := q.RequestOps > int(OpRecvZC), Have(RecvZeroCopy); knows && err != nil && !errors.Is(err, ErrNotSupported) {
		t.Errorf("%d operations, receive: %v", q.RequestOps, err)
	}
	for op, ask := range map[int]func() error{
		queryZCRX:      func() error { _, err := QueryZCRX(); return err },
		queryZCRXEvent: func() error { _, err := QueryZCRXEvents(); return err },
	} {
		if err := ask(); (err == nil) != (q.QueryOps > op) || err != nil && !errors.Is(err, ErrNotSupported) {
			t.Errorf("query %d of %d: %v", op, q.QueryOps, err)
		}
	}
	t.Logf("%+v", q)
}

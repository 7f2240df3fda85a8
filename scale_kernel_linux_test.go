package zctap_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/testenv"
)

// kernelCallers has callers of the kernel in ns call f n times in all, a few at a time.
func kernelCallers(ns *netns.NS, n int, f func(i int) error) error {
	errs := make([]error, 16)
	var callers sync.WaitGroup
	for k := range errs {
		callers.Go(func() {
			errs[k] = ns.Do(func() error {
				for i := k; i < n; i += len(errs) {
					if err := f(i); err != nil {
						return fmt.Errorf("connection %d: %w", i, err)
					}
				}
				return nil
			})
		})
	}
	callers.Wait()
	return errors.Join(errs...)
}

// echoOverTUN opens a queue that echoes at the address that it returns, for the kernel of
// the namespace that it returns.
func echoOverTUN(t *testing.T) (q *zctap.Queue, ns *netns.NS, addr string) {
	t.Helper()
	ns = newNS(t)
	q, _ = openTUN(ns, tunOurs4.Addr(), tunHost4.Addr())(t, zctap.Config{})
	t.Cleanup(func() { closeWhole(t, q) })
	echoes(t, q, ":80")
	return q, ns, netip.AddrPortFrom(tunOurs4.Addr(), 80).String()
}

// TestNSKernelConnections: the kernel's TCP has so many connections to us at the same
// time, and each brings back its own bytes.
func TestNSKernelConnections(t *testing.T) {
	n := scale(10_000, 500)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < uint64(n)+1000 {
		testenv.SkipOrFail(t, "needs %d open files, the limit is %d (%v)", n+1000, files.Cur, err)
	}
	q, ns, addr := echoOverTUN(t)
	conns := make([]net.Conn, n)
	if err := kernelCallers(ns, n, func(i int) (err error) {
		conns[i], err = net.Dial("tcp", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := q.Stats().Conns; got != n {
		t.Errorf("%d connections, want %d", got, n)
	}
	if err := kernelCallers(ns, n, func(i int) error {
		p := make([]byte, 3000)
		for k := range p {
			p[k] = byte(i + i>>8*7 + k)
		}
		return errors.Join(wantEcho(conns[i], p), wantEcho(conns[i], p[:1+i%100]))
	}); err != nil {
		t.Error(err)
	}
	for _, c := range conns {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNSShortKernelConnections: the kernel's TCP connects so often, one after the other from
// a few callers, that it has to take ports again that were used a second before.
func TestNSShortKernelConnections(t *testing.T) {
	n := scale(100_000, 2_000)
	q, ns, addr := echoOverTUN(t)
	for name, v := range map[string]string{"net/ipv4/ip_local_port_range": "1024 65535", "net/ipv4/tcp_tw_reuse": "1"} {
		if err := ns.SetSysctl(name, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := kernelCallers(ns, n, func(i int) error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := errors.Join(wantEcho(c, []byte("a short one")), c.(*net.TCPConn).CloseWrite()); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			return fmt.Errorf("instead of the end: %v", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s := q.Stats()
	if got := s.Events["passive-opens"]; got != uint64(n) {
		t.Errorf("%d connections accepted, want %d", got, n)
	}
	t.Logf("%d connections, %d kept in TIME-WAIT", n, s.Conns)
}

package zctap_test

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/zctap/zctap"
)

// TestNSDroppedAtTUN: datagrams that come while the engine is held up are received then, or
// counted as dropped by the kernel.
func TestNSDroppedAtTUN(t *testing.T) {
	ns := newNS(t)
	q, _ := openTUN(ns, tunOurs4.Addr(), tunHost4.Addr())(t, zctap.Config{})
	t.Cleanup(func() { closeWhole(t, q) })
	p, err := q.ListenPacket("udp", ":9")
	if err != nil {
		t.Fatal(err)
	}
	held, goOn := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release) // before Close, which would wait
	var once sync.Once
	if err := q.Handle(func(cqes []zctap.Completion) {
		once.Do(func() {
			close(held)
			<-goOn
		})
		for i := range cqes {
			if _, err := q.Release(cqes[i].Iovs); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := p.Arm(1); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	if err := ns.Do(func() error {
		c, err := net.Dial("udp", net.JoinHostPort(tunOurs4.Addr().String(), "9"))
		if err != nil {
			return err
		}
		defer c.Close()
		for i := range n {
			if _, err := c.Write([]byte("datagram")); err != nil {
				return err
			}
			if i > 0 {
				continue
			}
			select {
			case <-held:
			case <-time.After(30 * time.Second):
				return errors.New("the first datagram does not come")
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	release()
	var s zctap.Stats
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s = q.Stats()
		if s.Events["datagrams-received"]+s.Drops["tun-dropped"] >= n || time.Now().After(end) {
			break
		}
	}
	// A few packets of IPv6's own may be among those that were dropped.
	if sum := s.Events["datagrams-received"] + s.Drops["tun-dropped"]; sum < n || sum > n+20 || s.Drops["tun-dropped"] == 0 {
		t.Errorf("%d datagrams, drops %v, events %v", n, s.Drops, s.Events)
	}
}

//go:build linux

package zctap_test

import (
	"net"
	"testing"
	"time"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/netns"
	"github.com/zctap/zctap/internal/pattern"
)

// The NIC fills a DMA buffer that is named by a descriptor: nothing is copied.
func TestLabDMABuf(t *testing.T) {
	env := needGuest(t, "ZCTAP_LAB_NIC", "ZCTAP_LAB_PEER")
	ns, err := netns.Open(env[1])
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	const size = 8 << 20
	fd, mem := dmaBuffer(t, 16<<20, 18<<20)
	q, err := zctap.Open(zctap.Config{Engine: zctap.ZCRX, Interface: env[0], Memory: mem, ZCRX: &zctap.ZCRXConfig{DMABuf: fd}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}()
	ln, err := q.Listen("tcp", net.JoinHostPort(addrOf(t, env[0]).String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	pat := pattern.New(3)
	sent := make(chan error, 1)
	go func() {
		sent <- ns.Do(func() error {
			p, err := net.DialTimeout("tcp", ln.Addr().String(), 30*time.Second)
			if err != nil {
				return err
			}
			defer p.Close()
			b := make([]byte, size)
			pat.Fill(b, 0)
			_, err = p.Write(b)
			return err
		})
	}()
	c, err := ln.AcceptZC()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got := recvPattern(t, q, c, pat)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if s := q.Stats(); got != size || s.ZeroCopyBytes != size || s.CopiedBytes != 0 {
		t.Errorf("received %d bytes; %d count as not copied, %d as copied", got, s.ZeroCopyBytes, s.CopiedBytes)
	}
}

package user

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver"
	"github.com/zctap/zctap/internal/driver/impair"
	"github.com/zctap/zctap/internal/driver/mem"
)

// spoil makes a wire lose, duplicate, corrupt and reorder frames.
func spoil(d driver.Driver, p *buf.Pool) driver.Driver {
	w, err := impair.New(d, impair.Config{Pool: p, Seed: 1, Drop: 0.005, Duplicate: 0.01, Corrupt: 0.005, Reorder: 0.02, ReorderBy: 3})
	if err != nil {
		panic(err)
	}
	return w
}

func TestTransferBothWays(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    options
	}{
		{"MTU", options{}},
		{"super-segments", options{mem: mem.Config{MaxGSO: 65535}}},
		{"super-segments, checksums", options{mem: mem.Config{MaxGSO: 65535, Offload: mem.Completed}}},
		{"Ethernet without split", options{mem: mem.Config{LinkHeader: 14, NoSplit: true, Offload: mem.Plain}}},
		{"a short wire", options{mem: mem.Config{QueueFrames: 8, QueueBytes: 8 << 10}}},
		{"few buffers", options{buffers: 64}},
		{"very few a connection", options{maxHeld: 4}},
		{"a bad wire", options{wrap: spoil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := newHosts(t, tt.o)
			client, server := connect(t, a, b)
			n, m := 8<<20, 3<<20+7
			if tt.o.wrap != nil {
				n, m = 1<<20, 1<<19 // losses cost time
			}
			await(t,
				func() error {
					if err := send(client, 1, n); err != nil {
						return err
					}
					return client.CloseWrite()
				},
				func() error { return receive(b.pool, server, 1, n) },
				func() error {
					if err := send(server, 2, m); err != nil {
						return err
					}
					return server.CloseWrite()
				},
				func() error { return receive(a.pool, client, 2, m) },
			)
			closeConn(t, client)
			closeConn(t, server)
			noConnections(t, a, b)
			for _, h := range []struct {
				*host
				sent, received uint64
			}{{a, uint64(n), uint64(m)}, {b, uint64(m), uint64(n)}} {
				s := h.stats()
				if got := s.ZeroCopyBytes + s.CopiedBytes; got != h.received {
					t.Errorf("%d bytes counted as received, want %d", got, h.received)
				}
				if s.SentBytes < h.sent || s.Frames == 0 || s.Batches == 0 {
					t.Errorf("stats %+v", s)
				}
			}
		})
	}
}

package user

import (
	"testing"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/driver/mem"
)

// BenchmarkTransfer is one stream between two engines, writer and reader
// included, over a wire that copies each byte twice.
func BenchmarkTransfer(b *testing.B) {
	for _, bb := range []struct {
		name string
		o    options
	}{
		{"MTU", options{}},
		{"super-segments", options{mem: mem.Config{MaxGSO: 65535}}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			x, y := newHosts(b, bb.o)
			client, server := connect(b, x, y)
			const chunk = 1 << 20
			p, iovs := make([]byte, chunk), make([]buf.Iov, 64)
			b.SetBytes(chunk)
			b.ReportAllocs()
			b.ResetTimer()
			await(b,
				func() error {
					for range b.N {
						if _, err := client.Write(p); err != nil {
							return err
						}
					}
					return nil
				},
				func() error {
					for left := b.N * chunk; left > 0; {
						n, err := server.Queue().Recv(iovs, 1<<30)
						if err != nil {
							return err
						}
						for i := range iovs[:n] {
							left -= len(iovs[i].Bytes())
						}
						if _, err := y.pool.Return(iovs[:n]); err != nil {
							return err
						}
					}
					return nil
				})
			b.StopTimer()
			closeConn(b, client)
			closeConn(b, server)
		})
	}
}

package user

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// TestCompletions receives on many connections with one goroutine: the engine
// raises their queues on the CQ and flushes that.
func TestCompletions(t *testing.T) {
	a, b := newHosts(t, options{})
	const conns, n = 10, 300 << 10
	servers := make(map[*sockq.Source]*check, conns)
	senders := make([]func() error, 0, conns+1)
	for i := range conns {
		client, server := connect(t, a, b)
		seed := byte(i)
		servers[&server.Queue().Source] = &check{conn: server, want: newStream(seed)}
		server.Queue().Arm(b.cq, uint64(i))
		server.Queue().Raise()
		senders = append(senders, func() error {
			defer closeConn(t, client)
			return send(client, seed, n)
		})
	}
	await(t, append(senders, func() error { return drain(b, servers, n) })...)
	noConnections(t, a, b)
}

// check is what one connection has received.
type check struct {
	conn engine.Conn
	want *stream
	got  int
}

// drain receives from all until each has ended, and compares.
func drain(b *host, servers map[*sockq.Source]*check, n int) (failed error) {
	iovs := make([]buf.Iov, 16)
	want := make([]byte, 64<<10)
	for left := len(servers); left > 0; {
		b.cq.SetDeadline(time.Now().Add(deadline))
		err := b.cq.Next(func(s *sockq.Source) (again, more bool) {
			c := servers[s]
			k, _, again, err := c.conn.Queue().Poll(iovs, 1<<30)
			for i := range iovs[:k] {
				v := iovs[i].Bytes()
				c.want.Read(want[:len(v)])
				if string(want[:len(v)]) != string(v) && failed == nil {
					failed = fmt.Errorf("bytes from %d on are wrong", c.got)
				}
				c.got += len(v)
			}
			if _, err := b.pool.Return(iovs[:k]); err != nil {
				failed = err
			}
			if err != nil {
				if !errors.Is(err, io.EOF) || c.got != n {
					failed = fmt.Errorf("%d bytes, then %w", c.got, err)
				}
				c.conn.Queue().Close()
				c.conn.Close()
				left--
			}
			return again, true
		})
		if err != nil {
			return err
		}
	}
	return failed
}

package user

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/zctap/zctap/internal/buf"
	"github.com/zctap/zctap/internal/engine"
	"github.com/zctap/zctap/internal/sockq"
)

// readAll reads to the end of c's stream.
func readAll(c engine.Conn) ([]byte, error) {
	var all []byte
	b := make([]byte, 32<<10)
	for {
		n, err := c.Queue().Read(b)
		all = append(all, b[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func noConnections(t *testing.T, hosts ...*host) {
	t.Helper()
	eventually(t, "no connection left", func() bool {
		n := 0
		for _, h := range hosts {
			n += h.stats().Conns
		}
		return n == 0
	})
}

// TestCloseSendsWhatWasWritten: Close returns at once, and all that was written
// still arrives, with an orderly end.
func TestCloseSendsWhatWasWritten(t *testing.T) {
	a, b := newHosts(t, options{})
	client, server := connect(t, a, b)
	if _, err := client.Write(bytes.Repeat([]byte("z"), 700<<10)); err != nil {
		t.Fatal(err)
	}
	closeConn(t, client)
	closeConn(t, client) // idempotent
	if got, err := readAll(server); err != nil || len(got) != 700<<10 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for name, err := range map[string]error{
		"Write":        second(client.Write([]byte("x"))),
		"CloseWrite":   client.CloseWrite(),
		"SetLinger":    client.SetLinger(0),
		"SetNoDelay":   client.SetNoDelay(true),
		"SetKeepAlive": client.SetKeepAlive(true, 0),
		"user timeout": client.SetUserTimeout(0),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	closeConn(t, server)
	noConnections(t, a, b)
}

func second[T any](_ T, err error) error { return err }

// TestCloseWithUnreadDataResets is RFC 2525 section 2.17.
func TestCloseWithUnreadDataResets(t *testing.T) {
	a, b := newHosts(t, options{})
	client, server := connect(t, a, b)
	if _, err := client.Write([]byte("never read")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the data is there", func() bool { return server.Queue().Buffered() > 0 })
	closeConn(t, server)
	if _, err := readAll(client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v, want ECONNRESET", err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer writes: %v, want ECONNRESET", err)
	}
	closeConn(t, client)
	noConnections(t, a, b)
}

func TestLinger(t *testing.T) {
	t.Run("0 resets", func(t *testing.T) {
		a, b := newHosts(t, options{})
		client, server := connect(t, a, b)
		if err := client.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		closeConn(t, client)
		if _, err := readAll(server); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer reads %v, want ECONNRESET", err)
		}
		closeConn(t, server)
		noConnections(t, a, b)
	})
	t.Run("1 gives up after a second", func(t *testing.T) {
		a, b := newHosts(t, options{buffers: 64})
		client, server := connect(t, a, b)
		if err := client.SetLinger(1); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		closeConn(t, client) // nobody reads: the window is closed
		noConnections(t, a)
		if _, err := readAll(server); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer reads %v, want ECONNRESET", err)
		}
		closeConn(t, server)
		noConnections(t, b)
	})
}

func TestCloseWrite(t *testing.T) {
	a, b := newHosts(t, options{})
	client, server := connect(t, a, b)
	if _, err := client.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after CloseWrite: %v, want EPIPE", err)
	}
	if got, err := readAll(server); string(got) != "request" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := server.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	closeConn(t, server)
	if got, err := readAll(client); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	closeConn(t, client)
	noConnections(t, a, b)
}

// TestWriteDeadline: a write that cannot go on returns what it took, and just that
// arrives.
func TestWriteDeadline(t *testing.T) {
	a, b := newHosts(t, options{buffers: 64})
	client, server := connect(t, a, b)
	var (
		n   int
		err error
	)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n, err = client.Write(make([]byte, 8<<20))
	}()
	eventually(t, "a part of it is there", func() bool { return server.Queue().Buffered() > 0 })
	client.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	<-ended
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 8<<20 {
		t.Fatalf("Write: %d, %v; want a part and ErrDeadlineExceeded", n, err)
	}
	if n, err := client.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write after the deadline: %d, %v", n, err)
	}
	client.SetWriteDeadline(time.Time{})
	wrote := make(chan error, 1)
	go func() {
		_, err := client.Write([]byte("end"))
		wrote <- errors.Join(err, client.CloseWrite())
	}()
	got, err := readAll(server)
	if len(got) != n+3 || err != nil {
		t.Errorf("%d bytes arrived, %v; want %d", len(got), err, n+3)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	closeConn(t, client)
	closeConn(t, server)
}

// blocked starts every call that can block, and returns what they fail with.
func blocked(t *testing.T, a, b *host) (conn, packet, accept, dial chan error, views func() []buf.Iov) {
	t.Helper()
	client, server := connect(t, a, b)
	l := a.listen(t, 0)
	p, err := a.ListenPacket("udp", netip.AddrPort{}, netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	// A view that outlives the engine.
	if _, err := server.Write([]byte("held")); err != nil {
		t.Fatal(err)
	}
	held := make([]buf.Iov, 1)
	if _, err := client.Queue().Recv(held, 100); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, server) })

	conn, packet, accept, dial = make(chan error, 2), make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := client.Queue().Recv(make([]buf.Iov, 1), 1)
		conn <- err
	}()
	go func() {
		_, err := client.Write(make([]byte, 64<<20))
		conn <- err
	}()
	go func() {
		_, _, err := p.Queue().Recv(make([]buf.Iov, 1), make([]sockq.Message, 1))
		packet <- err
	}()
	go func() {
		_, err := l.Backlog().Accept()
		accept <- err
	}()
	go func() {
		_, err := a.Dial(t.Context(), "tcp", netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.77:80"))
		dial <- err
	}()
	eventually(t, "the dial is under way and the writer waits", func() bool {
		return a.stats().Conns == 2 && server.Queue().Buffered() > 100<<10
	})
	return conn, packet, accept, dial, func() []buf.Iov { return held }
}

func wantError(t *testing.T, what string, c <-chan error, want error) {
	t.Helper()
	select {
	case err := <-c:
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	case <-time.After(deadline):
		t.Fatalf("%s still blocks", what)
	}
}

func TestEngineClose(t *testing.T) {
	a, b := newHosts(t, options{maxHeld: 100})
	conn, packet, accept, dial, views := blocked(t, a, b)
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- a.Close() }()
	}
	wantError(t, "Close", closed, nil)
	wantError(t, "second Close", closed, nil)
	wantError(t, "Recv or Write", conn, net.ErrClosed)
	wantError(t, "Recv or Write", conn, net.ErrClosed)
	wantError(t, "Recv of datagrams", packet, net.ErrClosed)
	wantError(t, "Accept", accept, net.ErrClosed)
	wantError(t, "Dial", dial, net.ErrClosed)

	if c, err := a.pool.Census(); err != nil || c.Driver+c.Stack != 0 || c.User != 1 {
		t.Errorf("census %+v, %v; want the one view only", c, err)
	}
	if v := views(); string(v[0].Bytes()) != "held" {
		t.Errorf("the view changed to %q", v[0].Bytes())
	} else if _, err := a.pool.Return(v); err != nil {
		t.Error(err)
	}
	// The peers were told.
	eventually(t, "the peer is reset", func() bool { return b.stats().Events["resets-received"] == 1 })
	wantLater(t, a, net.ErrClosed)
}

// wantLater requires that new calls fail with want.
func wantLater(t *testing.T, h *host, want error) {
	t.Helper()
	if _, err := h.Listen("tcp", netip.AddrPort{}, 1); !errors.Is(err, want) {
		t.Errorf("Listen: %v, want %v", err, want)
	}
	if _, err := h.ListenPacket("udp", netip.AddrPort{}, netip.AddrPort{}); !errors.Is(err, want) {
		t.Errorf("ListenPacket: %v, want %v", err, want)
	}
	if _, err := h.Dial(context.Background(), "tcp", netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.2:9")); !errors.Is(err, want) {
		t.Errorf("Dial: %v, want %v", err, want)
	}
	if err := h.Err(); !errors.Is(err, want) {
		t.Errorf("Err: %v, want %v", err, want)
	}
	if s := h.stats(); s.Frames == 0 {
		t.Error("the statistics are gone")
	}
}

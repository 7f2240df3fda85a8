package zctap_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zctap/zctap"
	"github.com/zctap/zctap/internal/enginetest"
)

// connected is a connection of q's and its peer.
func connected(t *testing.T, q *zctap.Queue, peer enginetest.Peer) (*zctap.Conn, net.Conn) {
	t.Helper()
	own := loopback4
	if q.Engine() == zctap.User {
		own = pairA4
	}
	ln, err := q.Listen("tcp4", netip.AddrPortFrom(own, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := peer.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ln.AcceptZC()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ln.Close(), c.SetDeadline(time.Now().Add(patience))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close(); c.Close() })
	return c, theirs
}

// A shortWriter takes one byte less than it is given, and says nothing of it.
type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

// TestWriteToN: just as many bytes as were asked for go to a file, a connection or any other
// writer; what follows them stays, and the stream's end is told from what was asked for.
func TestWriteToN(t *testing.T) {
	const length = 300_000 // of many iovs, and no whole number of buffers
	for name, open := range map[string]func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer){
		"copy": openCopy, "user": openMem(pairA4, pairB4),
	} {
		t.Run(name, func(t *testing.T) {
			q, peer := open(t, zctap.Config{})
			defer q.Close()
			c, theirs := connected(t, q, peer)
			data := make([]byte, 3*length+3)
			for i := range data {
				data[i] = byte(i * 7 >> 3)
			}
			go func() {
				theirs.Write(data)
				theirs.(interface{ CloseWrite() error }).CloseWrite()
			}()
			want := func(what string, got []byte, n int64, err error) {
				t.Helper()
				if err != nil || n != length || !bytes.Equal(got, data[:length]) {
					t.Errorf("%s: %d bytes, %v; the right ones: %v", what, n, err, bytes.Equal(got, data[:length]))
				}
				data = data[length:]
			}

			path := filepath.Join(t.TempDir(), "body")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			n, err := c.WriteToN(f, length)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			got, _ := os.ReadFile(path)
			want("a file", got, n, err)

			var b bytes.Buffer
			n, err = c.WriteToN(&b, length)
			want("a buffer", b.Bytes(), n, err)

			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			all := make(chan []byte)
			go func() {
				s, err := l.Accept()
				if err != nil {
					close(all)
					return
				}
				defer s.Close()
				b, _ := io.ReadAll(s)
				all <- b
			}()
			out, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			n, err = c.WriteToN(out, length)
			out.Close()
			want("a connection", <-all, n, err)

			if n, err := c.WriteToN(io.Discard, 0); n != 0 || err != nil {
				t.Errorf("nothing: %d, %v", n, err)
			}
			if n, err := c.WriteToN(io.Discard, 10); n != 3 || err != io.ErrUnexpectedEOF {
				t.Errorf("10 bytes of 3: %d, %v", n, err)
			}
			if n, err := c.WriteToN(io.Discard, 10); n != 0 || err != io.EOF {
				t.Errorf("10 bytes of none: %d, %v", n, err)
			}
			if n := q.Stats().ReadBytes; n != 0 {
				t.Errorf("%d bytes were copied out", n)
			}
		})
	}
}

// TestWriteToShort: a writer that takes less than it says loses bytes, and that is an error.
func TestWriteToShort(t *testing.T) {
	q, peer := openMem(pairA4, pairB4)(t, zctap.Config{})
	defer q.Close()
	c, theirs := connected(t, q, peer)
	if _, err := theirs.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.WriteToN(shortWriter{}, 100); n != 99 || err != io.ErrShortWrite {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := theirs.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.WriteTo(shortWriter{}); n != 99 || err != io.ErrShortWrite {
		t.Errorf("%d, %v", n, err)
	}
}

// TestBuffered: what waits can be seen, armed or not, and is gone when it was received.
func TestBuffered(t *testing.T) {
	for name, open := range map[string]func(testing.TB, zctap.Config) (*zctap.Queue, enginetest.Peer){
		"copy": openCopy, "user": openMem(pairA4, pairB4),
	} {
		t.Run(name, func(t *testing.T) {
			q, peer := open(t, zctap.Config{Buffers: 64})
			defer q.Close()
			c, theirs := connected(t, q, peer)
			if n := c.Buffered(); n != 0 {
				t.Errorf("%d bytes wait before any came", n)
			}
			if _, err := theirs.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(patience); c.Buffered() < 1000; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d bytes wait of 1000", c.Buffered())
				}
			}
			if _, err := io.ReadFull(c, make([]byte, 400)); err != nil || c.Buffered() != 600 {
				t.Errorf("%d bytes wait when 400 were read, %v", c.Buffered(), err)
			}
			if n, err := c.WriteToN(io.Discard, 600); n != 600 || err != nil || c.Buffered() != 0 {
				t.Errorf("%d bytes wait when %d more were received, %v", c.Buffered(), n, err)
			}
		})
	}
}

// TestWriteToClosed: what a file says that is closed, or whose deadline has passed, errors.Is finds as
// it does in what File.Write returns; all is released.
func TestWriteToClosed(t *testing.T) {
	q, peer := openMem(pairA4, pairB4)(t, zctap.Config{Buffers: 64})
	defer q.Close()
	c, theirs := connected(t, q, peer)
	for _, k := range []struct {
		spoil func(w *os.File) error
		want  error
	}{
		{(*os.File).Close, os.ErrClosed},
		{func(w *os.File) error { return w.SetWriteDeadline(time.Now().Add(-time.Second)) }, os.ErrDeadlineExceeded},
		{func(w *os.File) error { return nil }, syscall.EPIPE},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.Close(), k.spoil(w)); err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		n, err := c.WriteTo(w)
		var pe *os.PathError
		if n != 0 || !errors.Is(err, k.want) || !errors.As(err, &pe) {
			t.Errorf("%d, %v; want %v", n, err, k.want)
		}
		w.Close()
	}
}

// TestWriteToCloses: who writes to a pipe that nobody reads is ended by closing it, and all is released.
func TestWriteToCloses(t *testing.T) {
	q, peer := openMem(pairA4, pairB4)(t, zctap.Config{})
	c, theirs := connected(t, q, peer)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go theirs.Write(make([]byte, 1<<20)) // more than a pipe takes
	result := make(chan error, 1)
	go func() {
		_, err := c.WriteTo(w)
		result <- err
	}()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ); err != nil || n > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing comes")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-result:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%v; want %v", err, os.ErrClosed)
		}
	case <-time.After(patience):
		t.Fatal("it waits still")
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	if n := q.Leaked(); n != 0 {
		t.Errorf("%d buffers leaked", n)
	}
}

package zctap_test

import (
	"context"
	"encoding/binary"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/zctap/zctap"
)

// records cuts a stream into records: each is its length, four bytes in big-endian order,
// and so many bytes. Payload comes in pieces that end anywhere, also within a length.
type records struct {
	length [4]byte
	have   int // bytes of length
	left   int // bytes of the record that are still to come
}

// next takes the first record, or a part of one, from b, and returns the rest. end says
// that the record is complete.
func (r *records) next(b []byte) (piece, rest []byte, end bool, err error) {
	if r.have < len(r.length) {
		n := copy(r.length[r.have:], b)
		r.have, b = r.have+n, b[n:]
		if r.have < len(r.length) {
			return nil, nil, false, nil
		}
		r.left = int(binary.BigEndian.Uint32(r.length[:]))
		if r.left > 1<<20 {
			return nil, nil, false, fmt.Errorf("a record of %d bytes", r.left)
		}
	}
	n := min(r.left, len(b))
	if r.left -= n; r.left == 0 {
		r.have, end = 0, true
	}
	return b[:n], b[n:], end, nil
}

// A record may begin in one Iov and end in another. Work on the pieces as they come, and
// release each batch: a program that instead keeps Iovs until a record is complete stands
// still if a record is longer than what one connection may hold.
func ExampleConn_RecvZC_records() {
	q, err := zctap.Open(zctap.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	ln, err := q.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		for _, record := range []string{"short", strings.Repeat("long ", 20_000), ""} {
			length := binary.BigEndian.AppendUint32(nil, uint32(len(record)))
			if _, err := c.Write(append(length, record...)); err != nil {
				log.Fatal(err)
			}
		}
	}()

	c, err := ln.AcceptZC()
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	var r records
	size := 0
	iovs := make([]zctap.Iov, 64)
	for {
		n, err := c.RecvZC(iovs)
		if err == io.EOF && r.have == 0 {
			return // between two records
		}
		if err != nil {
			log.Fatal(err)
		}
		for i := range iovs[:n] {
			for b := iovs[i].Bytes(); len(b) > 0; {
				piece, rest, end, err := r.next(b)
				if err != nil {
					log.Fatal(err)
				}
				size += len(piece) // or hash it, write it, parse it
				if end {
					fmt.Println("a record of", size, "bytes")
					size = 0
				}
				b = rest
			}
		}
		q.Release(iovs[:n])
	}
	// Output:
	// a record of 5 bytes
	// a record of 100000 bytes
	// a record of 0 bytes
}

// An object store's PUT. A handler of net/http reads the body through the server's own
// buffers: r.Body copies each byte. A handler that takes the connection over hands the
// body to the file from where it landed. What the server had read already is in its
// buffer, and the answer is the handler's to write.
func ExampleConn_WriteToN() {
	dir, err := os.MkdirTemp("", "objects")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	put := func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 { // chunked: net/http has to take it apart
			http.Error(w, "Content-Length is missing", http.StatusLengthRequired)
			return
		}
		f, err := os.Create(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close() // again, of which nothing comes
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		c := conn.(*zctap.Conn)
		c.SetDeadline(time.Now().Add(time.Minute)) // the server's time-outs are over
		if r.Header.Get("Expect") == "100-continue" {
			io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		first := min(r.ContentLength, int64(buffered.Reader.Buffered()))
		if _, err = io.CopyN(f, buffered, first); err == nil {
			_, err = c.WriteToN(f, r.ContentLength-first)
		}
		err = errors.Join(err, f.Close()) // before the answer: it may say what became of writes
		status := "201 Created"
		if err != nil {
			status = "500 Internal Server Error"
		}
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
	}

	q, err := zctap.Open(zctap.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	ln, err := q.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(put)}
	go server.Serve(ln)

	body := strings.NewReader(strings.Repeat("payload ", 100_000))
	request, err := http.NewRequest("PUT", "http://"+ln.Addr().String()+"/object", body)
	if err != nil {
		log.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	response.Body.Close()
	stored, err := os.ReadFile(filepath.Join(dir, "object"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Status, len(stored), "bytes")
	fmt.Println("copied once more than the engine did:", q.Stats().ReadBytes > 10_000)
	// Output:
	// 201 Created 800000 bytes
	// copied once more than the engine did: false
}

// A proxy: io.Copy calls Conn.WriteTo, which hands views to the other connection, many in
// one writev.
func ExampleConn_WriteTo() {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	go func() { // an echo
		c, err := backend.Accept()
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		io.Copy(c, c)
	}()

	q, err := zctap.Open(zctap.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	ln, err := q.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		client, err := ln.AcceptZC()
		if err != nil {
			log.Fatal(err)
		}
		defer client.Close()
		server, err := net.Dial("tcp", backend.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		defer server.Close()
		go func() {
			io.Copy(server, client) // without a copy from the region
			server.(*net.TCPConn).CloseWrite()
		}()
		io.Copy(client, server) // sending copies, once
	}()

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "there and back")
	c.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, %d bytes read by copying\n", answer, q.Stats().ReadBytes)
	// Output: there and back, 0 bytes read by copying
}

// An orderly end: no more connections, a moment for those there are, and then Close. What
// consumers still hold stays valid until they release it.
func ExampleQueue_Close() {
	q, err := zctap.Open(zctap.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := q.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background()) // such as signal.NotifyContext
	context.AfterFunc(ctx, func() { ln.Close() })

	batches := make(chan []zctap.Iov, 16) // to a consumer that is slow
	var readers sync.WaitGroup
	serve := func(c *zctap.Conn) {
		defer c.Close()
		undo := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Now().Add(5 * time.Second)) })
		defer undo()
		for {
			iovs := make([]zctap.Iov, 16) // the consumer's, from here on
			n, err := c.RecvZC(iovs)
			if err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if err != nil {
				log.Print(err)
				return
			}
			batches <- iovs[:n]
		}
	}
	readers.Go(func() {
		for {
			c, err := ln.AcceptZC()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				log.Fatal(err)
			}
			readers.Go(func() { serve(c) })
		}
	})

	sendTo(ln.Addr(), "payload")
	first := <-batches
	stop()
	readers.Wait()
	if err := q.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("held after Close:", q.Leaked())
	fmt.Printf("%s", first[0].Bytes()) // still there
	q.Release(first)
	fmt.Println("and when released:", q.Leaked())
	// Output:
	// held after Close: 1
	// payload
	// and when released: 0
}

// What Stats has, by expvar: as JSON under /debug/vars of net/http's default server. For
// log/slog a Stats is an attribute like any other.
func ExampleQueue_Stats() {
	q, err := zctap.Open(zctap.Config{Buffers: 1024})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	expvar.Publish("zctap", expvar.Func(func() any { return q.Stats() }))

	s := q.Stats()
	fmt.Println(s.CopiedBytes, "bytes copied,", s.FreeBuffers, "of", s.Buffers, "buffers are free")
	// Output: 0 bytes copied, 1024 of 1024 buffers are free
}

// The same as Prometheus' text format, without a library. Counts are in maps by name: see
// docs/counters.md for what each means.
func ExampleStats() {
	q, err := zctap.Open(zctap.Config{Buffers: 1024})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	metrics := func(w http.ResponseWriter, _ *http.Request) {
		s := q.Stats()
		fmt.Fprintf(w, "zctap_received_bytes_total{path=\"zero_copy\"} %d\n", s.ZeroCopyBytes)
		fmt.Fprintf(w, "zctap_received_bytes_total{path=\"copied\"} %d\n", s.CopiedBytes)
		fmt.Fprintf(w, "zctap_connections %d\n", s.Conns)
		fmt.Fprintf(w, "zctap_buffers{state=\"free\"} %d\n", s.FreeBuffers)
		fmt.Fprintf(w, "zctap_buffers{state=\"held\"} %d\n", s.Buffers-s.FreeBuffers)
		fmt.Fprintf(w, "zctap_exhaustions_total %d\n", s.Exhaustions)
		for cause, n := range s.Drops {
			fmt.Fprintf(w, "zctap_drops_total{cause=%q} %d\n", cause, n)
		}
		for event, n := range s.Events {
			fmt.Fprintf(w, "zctap_events_total{event=%q} %d\n", event, n)
		}
	}
	metrics(printer{}, nil) // http.HandleFunc("/metrics", metrics)
	// Output:
	// zctap_received_bytes_total{path="zero_copy"} 0
	// zctap_received_bytes_total{path="copied"} 0
	// zctap_connections 0
	// zctap_buffers{state="free"} 1024
	// zctap_buffers{state="held"} 0
	// zctap_exhaustions_total 0
}

// A printer is a response to nobody.
type printer struct{ http.ResponseWriter }

func (printer) Write(p []byte) (int, error) { return os.Stdout.Write(p) }

// A test of a server and a client in one process, without a network or privileges: each has
// one end of a wire in memory.
func ExampleOpenPair() {
	a, b, err := zctap.OpenPair(zctap.Config{}, zctap.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	ln, err := a.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello to ", r.RemoteAddr[:len("192.0.2.2")])
	}))

	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := b.DialContext(ctx, network, address)
		if err != nil {
			return nil, err // not c: a nil *Conn in an interface is not nil
		}
		return c, nil
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	response, err := client.Get("http://192.0.2.1/")
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", body)
	// Output: hello to 192.0.2.2
}

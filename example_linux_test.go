package zctap_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/zctap/zctap"
)

// consume is what a program does with payload.
func consume(b []byte) { os.Stdout.Write(b) }

// sendTo sends a line to a TCP address from somewhere else.
func sendTo(addr net.Addr, line string) {
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintln(c, line)
}

// A server of one connection. README.md shows it, too.
func Example() {
	q, err := zctap.Open(zctap.Config{}) // region, interface queue, fill ring, engine
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	log.Println(q.Engine(), q.Why()) // what was chosen, and why not the others

	ln, err := q.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go sendTo(ln.Addr(), "payload")
	c, err := ln.AcceptZC()
	if err != nil {
		log.Fatal(err)
	}
	iovs := make([]zctap.Iov, 64)
	for {
		n, err := c.RecvZC(iovs) // views of the region; blocks, honours deadlines
		if err != nil {
			break // io.EOF at the end
		}
		for i := range iovs[:n] {
			consume(iovs[i].Bytes())
		}
		q.Release(iovs[:n]) // to the fill ring; any goroutine may
	}
	// Output: payload
}

// One goroutine over any number of connections: accepts, payload and ends all come
// as completions.
func ExampleQueue_Wait() {
	q, err := zctap.Open(zctap.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	ln, err := q.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	const accepts = 0
	if err := ln.Arm(accepts); err != nil {
		log.Fatal(err)
	}
	go sendTo(ln.Addr(), "payload")
	id := uint64(accepts) // of the last connection
	conns := map[uint64]*zctap.Conn{}
	cqes := make([]zctap.Completion, 32) // used again, so that nothing is allocated
	for {
		n, err := q.Wait(cqes)
		if err != nil {
			log.Fatal(err)
		}
		for i := range cqes[:n] {
			cqe := &cqes[i]
			switch {
			case cqe.Conn != nil: // accepted
				id++
				conns[id] = cqe.Conn
				if err := cqe.Conn.Arm(id); err != nil {
					log.Fatal(err)
				}
			case cqe.UserData == accepts: // the listener's end
				log.Fatal(cqe.Err())
			case cqe.Flags&zctap.More == 0: // a connection's end
				if err := cqe.Err(); err != nil { // such as ECONNRESET; it concerns no other
					log.Print(err)
				}
				conns[cqe.UserData].Close()
				delete(conns, cqe.UserData)
				return // a server would go on
			default:
				for i := range cqe.Iovs {
					consume(cqe.Iovs[i].Bytes())
				}
				q.Release(cqe.Iovs)
			}
		}
	}
	// Output: payload
}

// The same on the engine's own thread: no goroutine is woken for what arrives.
func ExampleQueue_Handle() {
	q, err := zctap.Open(zctap.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	ln, err := q.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	const accepts = 0
	id := uint64(accepts)             // of the last connection
	conns := map[uint64]*zctap.Conn{} // the handler's alone
	ended := make(chan struct{})
	err = q.Handle(func(cqes []zctap.Completion) {
		for i := range cqes {
			cqe := &cqes[i]
			switch {
			case cqe.Conn != nil: // accepted
				id++
				conns[id] = cqe.Conn
				if err := cqe.Conn.Arm(id); err != nil {
					log.Fatal(err)
				}
			case cqe.UserData == accepts: // the listener's end
				log.Fatal(cqe.Err())
			case cqe.Flags&zctap.More == 0: // a connection's end
				if err := cqe.Err(); err != nil { // such as ECONNRESET; it concerns no other
					log.Print(err)
				}
				conns[cqe.UserData].Close()
				delete(conns, cqe.UserData)
				close(ended) // a server would go on
			default:
				for i := range cqe.Iovs {
					consume(cqe.Iovs[i].Bytes())
				}
				q.Release(cqe.Iovs)
			}
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := ln.Arm(accepts); err != nil {
		log.Fatal(err)
	}
	go sendTo(ln.Addr(), "payload")
	<-ended
	// Output: payload
}

// Whole datagrams, many at a time, each with where it came from and when.
func ExamplePacketConn_RecvFromZC() {
	a, b, err := zctap.OpenPair(zctap.Config{}, zctap.Config{}) // joined by a wire in memory
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	c, err := a.ListenPacket("udp4", ":9000")
	if err != nil {
		log.Fatal(err)
	}
	from, err := b.DialPacket("udp4", "192.0.2.1:9000")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(from, "payload"); err != nil {
		log.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	iovs, dgrams := make([]zctap.Iov, 256), make([]zctap.Datagram, 64)
	n, err := c.RecvFromZC(iovs, dgrams)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		log.Fatal("nothing came")
	}
	if err != nil {
		log.Fatal(err)
	}
	at := 0
	for _, d := range dgrams[:n] {
		for i := range iovs[at : at+d.Iovs] {
			consume(iovs[at+i].Bytes())
		}
		at += d.Iovs
		fmt.Println(" from", d.Src.Addr())
	}
	a.Release(iovs[:at])
	// Output: payload from 192.0.2.2
}

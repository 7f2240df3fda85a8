package user

import (
	"errors"
	"testing"

	"github.com/zctap/zctap/internal/engine"
)

// TestSendMemory: what is written to peers that do not read takes no more memory than
// the engine may use, however many they are; who has a peer that reads gets on
// meanwhile, and later everything arrives, and the memory is there again.
func TestSendMemory(t *testing.T) {
	const (
		memory = 512 << 10
		slow   = 12
		n      = 300 << 10 // of each: far more than there is
	)
	a, b := newHosts(t, options{maxHeld: 8, sendMemory: memory})
	var clients, servers [slow]engine.Conn
	sent := make(chan error, slow)
	for i := range slow {
		clients[i], servers[i] = connect(t, a, b)
		go func() { sent <- errors.Join(send(clients[i], byte(i), n), clients[i].CloseWrite()) }()
	}
	buffered := func() (sum int) {
		for _, c := range clients {
			sum += c.(*Conn).send.Buffered()
		}
		return sum
	}
	// One who has written all leaves the line to those who have not.
	eventually(t, "all memory is in use", func() bool {
		return a.stats().Events["send-memory-waits"] >= 4 && buffered() > memory-100<<10
	})
	client, server := connect(t, a, b)
	await(t,
		func() error { return errors.Join(send(client, 100, 1<<20), client.CloseWrite()) },
		func() error { return receive(b.pool, server, 100, 1<<20) })
	if got := buffered(); got > memory+slow*4096 {
		t.Errorf("%d bytes are buffered, of %d", got, memory)
	}
	for i, s := range servers {
		if err := receive(b.pool, s, byte(i), n); err != nil {
			t.Errorf("slow reader %d: %v", i, err)
		}
	}
	for range slow {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	for i := range slow {
		closeConn(t, clients[i])
		closeConn(t, servers[i])
	}
	closeConn(t, client)
	closeConn(t, server)
	noConnections(t, a, b)

	// All of it is there for the next, and comes back from one that is reset.
	for range 2 {
		last, peer := connect(t, a, b)
		go func() { sent <- send(last, 1, 1<<20) }()
		eventually(t, "all memory is one connection's", func() bool { return last.(*Conn).send.Buffered() > memory-64<<10 })
		if err := last.SetLinger(0); err != nil {
			t.Error(err)
		}
		closeConn(t, last)
		if err := <-sent; err == nil {
			t.Error("a megabyte was written to a peer that does not read")
		}
		closeConn(t, peer)
		noConnections(t, a, b)
	}
}

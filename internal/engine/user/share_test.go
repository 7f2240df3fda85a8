package user

import (
	"errors"
	"testing"

	"github.com/zctap/zctap/internal/engine"
)

// TestSlowReadersLeaveRoom is the second rule of the design: however many
// connections are written to and not read, another flow of the same queue still
// gets through, and what waits in the slow ones is all there in the end.
func TestSlowReadersLeaveRoom(t *testing.T) {
	for _, slow := range []int{1, 5} {
		a, b := newHosts(t, options{buffers: 256})
		clients, servers := make([]engine.Conn, slow), make([]engine.Conn, slow)
		for i := range slow {
			clients[i], servers[i] = connect(t, a, b)
		}
		client, server := connect(t, a, b)
		const n = 900 << 10 // fits the send buffer, and no share of the region
		for i, c := range clients {
			if err := errors.Join(send(c, byte(i), n), c.CloseWrite()); err != nil {
				t.Fatal(err)
			}
		}
		await(t,
			func() error { return errors.Join(send(client, 100, 4<<20), client.CloseWrite()) },
			func() error { return receive(b.pool, server, 100, 4<<20) })
		for i, s := range servers {
			if err := receive(b.pool, s, byte(i), n); err != nil {
				t.Errorf("slow reader %d: %v", i, err)
			}
			closeConn(t, clients[i])
			closeConn(t, s)
		}
		closeConn(t, client)
		closeConn(t, server)
		noConnections(t, a, b)
	}
}

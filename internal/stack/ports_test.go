package stack

import "testing"

// TestEphemeralRange: if only one port is free it is found, wherever the search begins, and each
// port is tried once (RFC 6056 section 3.3.1).
func TestEphemeralRange(t *testing.T) {
	r := newRig(t)
	for _, want := range []uint16{firstEphemeral, firstEphemeral + 1, 45000, 60999, 0} {
		tried := map[uint16]bool{}
		got := r.stack.ephemeral(func(port uint16) bool {
			if tried[port] || port < firstEphemeral || port > 60999 {
				t.Fatalf("port %d is tried twice, or out of range", port)
			}
			tried[port] = true
			return port == want
		})
		if got != want {
			t.Errorf("port %d, want %d", got, want)
		}
	}
}

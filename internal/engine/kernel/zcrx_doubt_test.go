//go:build linux

package kernel

import (
	"testing"

	"github.com/zctap/zctap/internal/uring"
)

// What may have stopped in the middle is made anew once, if it has not ended.
func TestZCRXDoubt(t *testing.T) {
	z, _ := accountant(t)
	armed := &socket{ops: reqRecv, token: token{slot: 1}}
	ended := &socket{token: token{slot: 2}}
	leaving := &socket{ops: reqRecv, token: token{slot: 3}, detaching: true}
	z.last = armed
	z.filled()
	z.filled()
	z.doubt(ended)
	z.doubt(leaving)
	z.doubt(nil)
	z.kickDoubted()
	if len(z.out) != 1 || z.out[0].Opcode != uring.OpAsyncCancel || z.out[0].Addr != userData(reqRecv, armed) || !armed.cancelling {
		t.Errorf("requests %+v", z.out)
	}
	z.kickDoubted()
	if len(z.out) != 1 {
		t.Errorf("once more: %+v", z.out)
	}
}

package netstack

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/zctap/zctap/internal/mono"
)

// What the wires alone cost, on which both stacks are measured: a frame is copied into
// a buffer of the receiver's, or taken from a posted one, and the buffer given back.

// oursLink is our wire without a stack.
type oursLink struct{ *ours }

func (r oursLink) deliver([][]byte) {
	if err := r.wire.Poll(mono.Now(), r.batch); err != nil {
		r.tb.Fatal(err)
	}
	for i := range r.batch.Frames {
		r.pool.PutFrags(r.batch.Frames[i].Frags)
	}
}

func (r oursLink) take(_, _, n int) int { return n * payloadLen }

// theirsLink is a Link without a stack.
type theirsLink struct{ *theirs }

func newTheirsLink(tb testing.TB, w wireKind) theirsLink {
	r := theirsLink{newTheirs(tb, w, false, false)}
	r.link.Attach(devNull{})
	return r
}

func (r theirsLink) take(_, _, n int) int { return n * payloadLen }

// devNull is a stack.NetworkDispatcher that drops what comes.
type devNull struct{}

func (devNull) DeliverNetworkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}
func (devNull) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer)    {}

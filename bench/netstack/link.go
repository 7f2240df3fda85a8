package netstack

import (
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/stack/gro"
)

// outMax bounds the packets that wait to be sent, as a queueing discipline does.
const outMax = 1000

// A Link is a network interface without a link layer: what a stack sends is kept for
// Out, what it is to receive is given to In.
type Link struct {
	mtu uint32
	// rxValid tells the stack that checksums of what it receives were verified.
	rxValid bool
	// With groOn GRO puts segments together, and groVerify has it verify their
	// checksums first; then what it passes on has to count as verified (rxValid).
	gro              gro.GRO
	groOn, groVerify bool

	mu         sync.Mutex
	dispatcher stack.NetworkDispatcher
	out        [][]byte
	discard    bool // what is sent is of no interest
	sent       int
	dropped    int // for want of room
}

var _ stack.LinkEndpoint = (*Link)(nil)

// In has the stack receive the packet p, which stays the caller's.
func (l *Link) In(p []byte) {
	l.deliver(stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p)}))
}

// deliver passes pkt to the stack, or to GRO, which Flush passes on.
func (l *Link) deliver(pkt *stack.PacketBuffer) {
	pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
	if b, ok := pkt.Data().PullUp(1); ok && b[0]>>4 == 6 {
		pkt.NetworkProtocolNumber = header.IPv6ProtocolNumber
	}
	if l.groOn {
		pkt.RXChecksumValidated = !l.groVerify
		l.gro.Enqueue(pkt)
	} else {
		l.dispatcher.DeliverNetworkPacket(pkt.NetworkProtocolNumber, pkt)
	}
	pkt.DecRef()
}

// Flush passes on what GRO has put together.
func (l *Link) Flush() {
	if l.groOn {
		l.gro.Flush()
	}
}

// Out takes what was sent.
func (l *Link) Out() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.out
	l.out = nil
	return out
}

// WritePackets is a stack.LinkEndpoint's. Any goroutine.
func (l *Link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, pkt := range pkts.AsSlice() {
		l.sent++
		switch {
		case l.discard:
		case len(l.out) >= outMax:
			l.dropped++
		default:
			v := pkt.ToView()
			l.out = append(l.out, append([]byte(nil), v.AsSlice()...))
			v.Release()
		}
	}
	return pkts.Len(), nil
}

// Attach is a stack.LinkEndpoint's.
func (l *Link) Attach(d stack.NetworkDispatcher) {
	l.dispatcher = d
	l.gro.Dispatcher = d
	l.gro.Init(l.groOn)
}

// IsAttached is a stack.LinkEndpoint's.
func (l *Link) IsAttached() bool { return l.dispatcher != nil }

// MTU is a stack.LinkEndpoint's.
func (l *Link) MTU() uint32 { return l.mtu }

// SetMTU is a stack.LinkEndpoint's; the MTU is that of the wire.
func (l *Link) SetMTU(uint32) {}

// Capabilities is a stack.LinkEndpoint's.
func (l *Link) Capabilities() stack.LinkEndpointCapabilities {
	if l.rxValid {
		return stack.CapabilityRXChecksumOffload
	}
	return 0
}

// MaxHeaderLength is a stack.LinkEndpoint's: there is no link header.
func (l *Link) MaxHeaderLength() uint16 { return 0 }

// LinkAddress is a stack.LinkEndpoint's.
func (l *Link) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress is a stack.LinkEndpoint's.
func (l *Link) SetLinkAddress(tcpip.LinkAddress) {}

// ARPHardwareType is a stack.LinkEndpoint's.
func (l *Link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader is a stack.LinkEndpoint's.
func (l *Link) AddHeader(*stack.PacketBuffer) {}

// ParseHeader is a stack.LinkEndpoint's.
func (l *Link) ParseHeader(*stack.PacketBuffer) bool { return true }

// Wait is a stack.LinkEndpoint's: there are no goroutines.
func (l *Link) Wait() {}

// Close is a stack.LinkEndpoint's.
func (l *Link) Close() {}

// SetOnCloseAction is a stack.LinkEndpoint's.
func (l *Link) SetOnCloseAction(func()) {}

package tcp

// prr is Proportional Rate Reduction (RFC 9937): in recovery, the window falls to
// the slow start threshold in proportion to what arrives, so that something is sent
// for every few ACKs instead of nothing for half a round trip.
type prr struct {
	delivered uint32 // bytes that have arrived since recovery began
	out       uint32 // bytes sent since
	flight    uint32 // RecoverFS: bytes under way when it began
}

// begin starts a recovery with flight bytes under way.
func (p *prr) begin(flight uint32) { *p = prr{flight: max(flight, 1)} }

// window is the congestion window after an ACK by which n bytes arrived, with pipe
// bytes under way. safe tells that the ACK made progress and showed no loss.
func (p *prr) window(n, pipe, ssthresh, mss uint32, safe bool) uint32 {
	p.delivered += n
	var send int64
	if pipe > ssthresh {
		// Rounded up, as the RFC has it.
		share := (uint64(p.delivered)*uint64(ssthresh) + uint64(p.flight) - 1) / uint64(p.flight)
		send = int64(share) - int64(p.out)
	} else {
		send = max(int64(p.delivered)-int64(p.out), int64(n))
		if safe {
			send += int64(mss)
		}
		send = min(send, int64(ssthresh-pipe))
	}
	if p.out == 0 {
		send = max(send, int64(mss)) // the fast retransmission
	}
	return pipe + uint32(min(max(send, 0), maxCwnd))
}

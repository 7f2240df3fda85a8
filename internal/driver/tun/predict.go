package tun

// A predictor guesses the length of the next frame's headers, which decides
// where a read is cut: if it is right, payload begins at the start of a buffer.
//
// In a bulk stream all headers are alike: IP version and TCP options do not
// change. So the guess is the header length with which most of the recent
// payload came; a majority vote by bytes (Boyer and Moore's, which needs one
// counter), so that a few small frames of other kinds between those of a stream
// don't put it off, while another stream takes over within voteLimit bytes.
type predictor struct {
	length int // bytes
	votes  int // bytes of payload that speak for length
}

// firstGuess is the headers of TCP over IPv4 with timestamps, what a Linux peer
// sends unless told otherwise.
const firstGuess = 52

// voteLimit bounds how many bytes it takes to change the guess.
const voteLimit = 1 << 16

// learn takes note of a frame with that length of headers and of payload.
func (p *predictor) learn(headers, payload int) {
	switch {
	case headers == p.length:
		p.votes = min(p.votes+payload, voteLimit)
	case payload > p.votes:
		p.length, p.votes = headers, payload
	default:
		p.votes -= payload
	}
}

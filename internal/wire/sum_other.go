//go:build !amd64

package wire

// vectors is false: there is no sumVectors for this CPU, and the compiler leaves its
// call out.
const vectors = false

func sumVectors([]byte) uint64 { panic("wire: no vector instructions for this CPU") }

package wire

// continueVectors is Continuation.countWords by AVX2, for a first of 40 to
// maxContinueVectors bytes. It reads nothing but first, mask, which is as long at least, and as
// much of heads that are as long as first, at any alignment. It can't be preempted, for 1 to
// 3 ns a head.
//
//go:noescape
func continueVectors(heads [][]byte, first, mask []byte, l4 int, seq, step uint32) (n int, flags uint64)

// continueVectorsAt is continueVectors of packets that begin at places in mem. It ends before one
// that does not have so many bytes there.
//
//go:noescape
func continueVectorsAt(mem []byte, at []int, first, mask []byte, l4 int, seq, step uint32) (n int, flags uint64)

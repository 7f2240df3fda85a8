package wire

// continueVectors is Continuation.Count by AVX2, for headers like first, in which l4 is where
// the TCP header begins: see vectorsFit. mask is as long as first at least. It reads of
// heads that are as long as first what first is long, and nothing of others. It can't be
// preempted, for some 2 ns a head.
//
//go:noescape
func continueVectors(heads [][]byte, first, mask []byte, l4 int, seq, step uint32) (n int, flags uint64)

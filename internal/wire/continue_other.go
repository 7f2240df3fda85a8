//go:build !amd64

package wire

func continueVectors([][]byte, []byte, []byte, int, uint32, uint32) (n int, flags uint64) {
	panic("wire: no vector instructions for this CPU")
}

func continueVectorsAt([]byte, []int, []byte, []byte, int, uint32, uint32) (n int, flags uint64) {
	panic("wire: no vector instructions for this CPU")
}

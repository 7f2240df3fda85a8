package wire

import "golang.org/x/sys/cpu"

// vectors tells that the CPU has AVX2 and the operating system keeps its registers.
// GODEBUG=cpu.avx2=off makes it false.
var vectors = cpu.X86.HasAVX2

// sumVectors is sumWords(0, b) by AVX2, without the padding: the length of b is a
// multiple of vectorLen, and below 2^37, from where on a lane could overflow. It reads
// b only, at any alignment. It can't be preempted, for 10 us a MiB.
//
//go:noescape
func sumVectors(b []byte) uint64

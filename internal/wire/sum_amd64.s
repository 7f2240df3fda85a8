#include "textflag.h"

// func sumVectors(b []byte) uint64
//
// Vector instructions have no carry flag, so a lane that sums 64-bit words loses what
// does not fit. Therefore each lane has two sums: that of words x, modulo 2^64, and
// that of x>>32, which does not overflow. The low halves then come to the first less
// 2^32 times the second, which does not overflow either, and is exact.
TEXT ·sumVectors(SB), NOSPLIT, $0-32
	MOVQ b_base+0(FP), SI
	MOVQ b_len+8(FP), CX

	// Y0 to Y3 are sums of words, Y4 to Y7 of high halves: four of each, so that no
	// addition waits for the one before it.
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPXOR Y7, Y7, Y7

	// CX becomes what is left behind the next 128 bytes.
	SUBQ $128, CX
	JLT  rest
	PCALIGN $32

round:
	// 128 bytes: load, add the words, add their high halves.
	VMOVDQU (SI), Y8
	VMOVDQU 32(SI), Y9
	VMOVDQU 64(SI), Y10
	VMOVDQU 96(SI), Y11
	VPADDQ  Y8, Y0, Y0
	VPADDQ  Y9, Y1, Y1
	VPADDQ  Y10, Y2, Y2
	VPADDQ  Y11, Y3, Y3
	VPSRLQ  $32, Y8, Y8
	VPSRLQ  $32, Y9, Y9
	VPSRLQ  $32, Y10, Y10
	VPSRLQ  $32, Y11, Y11
	VPADDQ  Y8, Y4, Y4
	VPADDQ  Y9, Y5, Y5
	VPADDQ  Y10, Y6, Y6
	VPADDQ  Y11, Y7, Y7
	ADDQ    $128, SI
	SUBQ    $128, CX
	JGE     round

rest:
	// CX becomes what is left: 0, 32, 64 or 96 bytes.
	ADDQ $128, CX
	JEQ  fold

step:
	// 32 bytes, in the same way.
	VMOVDQU (SI), Y8
	VPADDQ  Y8, Y0, Y0
	VPSRLQ  $32, Y8, Y8
	VPADDQ  Y8, Y4, Y4
	ADDQ    $32, SI
	SUBQ    $32, CX
	JNE     step

fold:
	// The four of each become one: Y0 the sums of words, Y4 those of high halves.
	VPADDQ Y1, Y0, Y0
	VPADDQ Y3, Y2, Y2
	VPADDQ Y2, Y0, Y0
	VPADDQ Y5, Y4, Y4
	VPADDQ Y7, Y6, Y6
	VPADDQ Y6, Y4, Y4

	// Y0 becomes the sums of low halves.
	VPSLLQ $32, Y4, Y8
	VPSUBQ Y8, Y0, Y0

	// Their four lanes are added up: AX is the sum of low halves, DX that of high ones.
	VPUNPCKLQDQ  Y4, Y0, Y8
	VPUNPCKHQDQ  Y4, Y0, Y0
	VPADDQ       Y8, Y0, Y0
	VEXTRACTI128 $1, Y0, X8
	VPADDQ       X8, X0, X0
	VMOVQ        X0, AX
	VPEXTRQ      $1, X0, DX

	// The compiler's code uses SSE, which is slow while upper halves are in use.
	VZEROUPPER

	// AX + 2^32 DX, modulo 2^64-1: a rotation, and an addition whose carry goes round.
	ROLQ $32, DX
	ADDQ DX, AX
	ADCQ $0, AX
	MOVQ AX, ret+24(FP)
	RET

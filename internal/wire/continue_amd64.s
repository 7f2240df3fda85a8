#include "textflag.h"

// func continueVectors(heads [][]byte, first, mask []byte, l4 int, seq, step uint32) (n int, flags uint64)
//
// A head's bytes are loaded once, 32 at a time, and compared where mask has bits. What
// is masked out is looked at by itself: the sequence number, and the sum of IPv4's
// identification and checksum, which stays the same, modulo 0xffff, if the checksum is right.
TEXT ·continueVectors(SB), NOSPLIT, $0-104
	MOVQ heads_base+0(FP), SI
	MOVQ heads_len+8(FP), CX
	MOVQ first_base+24(FP), R8
	MOVQ first_len+32(FP), R9
	MOVQ mask_base+48(FP), R11
	MOVQ l4+72(FP), R12
	MOVL seq+80(FP), R10
	MOVL step+84(FP), DI

	// The blocks: Y0 to Y2 are the first packet's, Y3 to Y5 their masks. The last begins
	// at R9-32, the one in the middle at DX, 32 or there, too.
	LEAQ    -32(R9), AX
	MOVQ    $32, DX
	CMPQ    AX, DX
	CMOVQLT AX, DX
	VMOVDQU (R8), Y0
	VMOVDQU (R8)(DX*1), Y1
	VMOVDQU (R8)(AX*1), Y2
	VMOVDQU (R11), Y3
	VMOVDQU (R11)(DX*1), Y4
	VMOVDQU (R11)(AX*1), Y5

	// R13 is the sum of identification and checksum, 16 and 10 bytes before the TCP
	// header. In IPv6 these are bytes of the destination, which do not change.
	MOVWLZX -16(R8)(R12*1), R13
	MOVWLZX -10(R8)(R12*1), BX
	ADDL    BX, R13

	// R15 counts heads, and R11 collects flags.
	XORL R15, R15
	XORL R11, R11
	JMP  next

same:
	MOVBLZX 13(R8)(R12*1), BX
	ORL     BX, R11
	ADDL    DI, R10
	ADDQ    $24, SI
	INCQ    R15

next:
	CMPQ R15, CX
	JGE  done
	CMPQ 8(SI), R9
	JLT  done
	MOVQ (SI), R8

	// Where bits differ that must not.
	VPXOR  (R8), Y0, Y6
	VPXOR  (R8)(DX*1), Y1, Y7
	VPXOR  -32(R8)(R9*1), Y2, Y8
	VPAND  Y3, Y6, Y6
	VPAND  Y4, Y7, Y7
	VPAND  Y5, Y8, Y8
	VPOR   Y6, Y7, Y7
	VPOR   Y7, Y8, Y8
	VPTEST Y8, Y8
	JNE    done

	// The sequence number.
	MOVL   4(R8)(R12*1), BX
	BSWAPL BX
	CMPL   BX, R10
	JNE    done

	MOVWLZX -16(R8)(R12*1), AX
	MOVWLZX -10(R8)(R12*1), BX
	ADDL    BX, AX
	SUBL    R13, AX
	JEQ     same // mostly: what one gains the other loses

	// The sums differ by a multiple of 0xffff.
	CMPL AX, $0xffff
	JEQ  same
	CMPL AX, $-0xffff
	JEQ  same
	CMPL AX, $0x1fffe
	JEQ  same
	CMPL AX, $-0x1fffe
	JEQ  same

done:
	// The compiler's code uses SSE, which is slow while upper halves are in use.
	VZEROUPPER
	MOVQ R15, n+88(FP)
	MOVQ R11, flags+96(FP)
	RET

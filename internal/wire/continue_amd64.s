#include "textflag.h"

// continueVectors and continueVectorsAt look at one packet after the other. A packet's bytes are
// loaded once, 32 at a time, and compared where the mask has bits. What is masked out is looked
// at by itself: the sequence number, and the sum of IPv4's identification and checksum, which
// stays the same, modulo 0xffff, if the checksum is right.
//
// R8 is where the packet at hand begins, R9 the length of the first one's headers, R10 the next
// sequence number and DI what it goes on by, R11 the flags found, R12 where TCP begins, CX how many
// packets are left, and SI where the next of them is told.

// FIRST is what is kept of the first packet, at R8, and its mask, at R11. The blocks: Y0 to
// Y2 are the packet's, Y3 to Y5 their masks. The last begins at R9-32, the one in the middle at
// DX, 32 or there, too. R13 is the sum of identification and checksum, 16 and 10 bytes before the
// TCP header. In IPv6 these are bytes of the destination, which do not change.
#define FIRST \
	LEAQ    -32(R9), AX; \
	MOVQ    $32, DX; \
	CMPQ    AX, DX; \
	CMOVQLT AX, DX; \
	VMOVDQU (R8), Y0; \
	VMOVDQU (R8)(DX*1), Y1; \
	VMOVDQU (R8)(AX*1), Y2; \
	VMOVDQU (R11), Y3; \
	VMOVDQU (R11)(DX*1), Y4; \
	VMOVDQU (R11)(AX*1), Y5; \
	MOVWLZX -16(R8)(R12*1), R13; \
	MOVWLZX -10(R8)(R12*1), BX; \
	ADDL    BX, R13; \
	XORL    R11, R11

// COMPARE goes to done if the packet does not continue the first one; or to same; or, if the sums of
// identification and checksum, whose difference is AX, do not settle it, on.
#define COMPARE \
	VPXOR   (R8), Y0, Y6; \
	VPXOR   (R8)(DX*1), Y1, Y7; \
	VPXOR   -32(R8)(R9*1), Y2, Y8; \
	VPAND   Y3, Y6, Y6; \
	VPAND   Y4, Y7, Y7; \
	VPAND   Y5, Y8, Y8; \
	VPOR    Y6, Y7, Y7; \
	VPOR    Y7, Y8, Y8; \
	VPTEST  Y8, Y8; \
	JNE     done; \
	MOVL    4(R8)(R12*1), BX; \
	BSWAPL  BX; \
	CMPL    BX, R10; \
	JNE     done; \
	MOVWLZX -16(R8)(R12*1), AX; \
	MOVWLZX -10(R8)(R12*1), BX; \
	ADDL    BX, AX; \
	SUBL    R13, AX; \
	JEQ     same

// CONGRUENT goes to same if AX is a multiple of 0xffff. Mostly it is 0: what one gains the
// other loses.
#define CONGRUENT \
	CMPL AX, $0xffff; \
	JEQ  same; \
	CMPL AX, $-0xffff; \
	JEQ  same; \
	CMPL AX, $0x1fffe; \
	JEQ  same; \
	CMPL AX, $-0x1fffe; \
	JEQ  same

// TAKE counts the packet in.
#define TAKE \
	MOVBLZX 13(R8)(R12*1), BX; \
	ORL     BX, R11; \
	ADDL    DI, R10; \
	DECQ    CX

// func continueVectors(heads [][]byte, first, mask []byte, l4 int, seq, step uint32) (n int, flags uint64)
TEXT ·continueVectors(SB), NOSPLIT, $0-104
	MOVQ heads_base+0(FP), SI
	MOVQ heads_len+8(FP), CX
	MOVQ first_base+24(FP), R8
	MOVQ first_len+32(FP), R9
	MOVQ mask_base+48(FP), R11
	MOVQ l4+72(FP), R12
	MOVL seq+80(FP), R10
	MOVL step+84(FP), DI
	FIRST
	JMP  next

same:
	TAKE
	ADDQ $24, SI

next:
	TESTQ CX, CX
	JEQ   done
	CMPQ  8(SI), R9
	JLT   done
	MOVQ  (SI), R8
	COMPARE
	CONGRUENT

done:
	// The compiler's code uses SSE, which is slow while upper halves are in use.
	VZEROUPPER
	MOVQ heads_len+8(FP), BX
	SUBQ CX, BX
	MOVQ BX, n+88(FP)
	MOVQ R11, flags+96(FP)
	RET

// func continueVectorsAt(mem []byte, at []int, first, mask []byte, l4 int, seq, step uint32) (n int, flags uint64)
TEXT ·continueVectorsAt(SB), NOSPLIT, $0-128
	MOVQ at_base+24(FP), SI
	MOVQ at_len+32(FP), CX
	MOVQ first_base+48(FP), R8
	MOVQ first_len+56(FP), R9
	MOVQ mask_base+72(FP), R11
	MOVQ l4+96(FP), R12
	MOVL seq+104(FP), R10
	MOVL step+108(FP), DI
	FIRST

	// R15 is the last place where a packet has all of its headers.
	MOVQ mem_len+8(FP), R15
	SUBQ R9, R15
	JCS  done
	JMP  next

same:
	TAKE
	ADDQ $8, SI

next:
	TESTQ CX, CX
	JEQ   done
	MOVQ  (SI), R8
	CMPQ  R8, R15
	JHI   done // below 0, too
	ADDQ  mem_base+0(FP), R8
	COMPARE
	CONGRUENT

done:
	VZEROUPPER
	MOVQ at_len+32(FP), BX
	SUBQ CX, BX
	MOVQ BX, n+112(FP)
	MOVQ R11, flags+120(FP)
	RET

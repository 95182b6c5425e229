#include "textflag.h"

// func shortCRC(raw []byte, prefix *crcPrefix) uint32
//
// Body first, then header, as hash/crc32 would in two calls; one call saves more than
// half of the time that a short record takes. A body of 8k+n bytes is read as k+1 words,
// the first of which ends with the body's first n bytes: the bytes before them, which
// are the header's last, are masked out, and the state begins such that zeros there
// make no difference. So the number of bytes leaves no tail to branch on.
TEXT ·shortCRC(SB), NOSPLIT, $0-36
	MOVQ raw_base+0(FP), DI
	MOVQ raw_len+8(FP), CX
	SUBQ $24, CX                 // bytes of the body
	MOVQ CX, DX
	ANDQ $7, DX                  // n
	LEAQ 24(DI)(DX*1), SI        // the body behind its first n bytes
	SHRQ $3, CX                  // k
	MOVQ prefix+24(FP), R8
	MOVQ -8(SI), BX
	ANDQ (R8), BX
	MOVQ 8(R8), AX
	CRC32Q BX, AX
	LEAQ (SI)(CX*8), SI          // the body's end
	NEGQ CX
	JZ   header

body:
	CRC32Q (SI)(CX*8), AX
	INCQ CX
	JNZ  body

header:
	CRC32Q 0(DI), AX
	CRC32Q 8(DI), AX
	CRC32L 16(DI), AX
	NOTL AX
	MOVL AX, ret+32(FP)
	RET

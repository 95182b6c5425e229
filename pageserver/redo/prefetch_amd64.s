#include "textflag.h"

// func prefetch(from *byte, lines int)
TEXT ·prefetch(SB), NOSPLIT, $0-16
	MOVQ from+0(FP), AX
	MOVQ lines+8(FP), CX

line:
	PREFETCHT0 (AX)
	ADDQ $64, AX // cacheLine
	DECQ CX
	JNZ  line
	RET

#include "go_asm.h"
#include "textflag.h"

// Registers of all passes. By split: SI path, DX left or below, R8 share, R9 children or
// values, R10 factor, R11 sides, R13 sum. R12 and R14 are below or path of the two
// children, BX the factors, AX the place of the point in all of these; R15 is the bytes
// of all points, CX counts splits. Y15 is 0, Y14 is 1.

// MASKS sets Y0 to where the row goes left and is on the path, Y1 to where it is on the
// path, Y2 to the share of the left, and Y3 to what a difference between the sides
// contributes.
#define MASKS \
	VPMOVZXBD (R11), Y0; \
	VPMOVZXBD 8(R11), Y1; \
	VPCMPEQD  Y15, Y0, Y0; \
	VPSUBD    Y1, Y15, Y1; \
	VPAND     Y1, Y0, Y0; \
	VMOVUPS   (R8), Y2; \
	VANDPS    Y14, Y0, Y3; \
	VANDPS    Y2, Y1, Y4; \
	VSUBPS    Y4, Y3, Y3

// LEFT sets Y5 to the share of the path that goes left, at a point.
#define LEFT \
	VMOVUPS      (BX)(AX*1), Y6; \
	VANDPS       Y6, Y0, Y5; \
	VANDPS       Y6, Y1, Y6; \
	VADDPS       Y2, Y5, Y5; \
	VFNMADD231PS Y6, Y2, Y5

// func passAVX2(p *groupPass)
TEXT ·passAVX2(SB), NOSPLIT, $0-8
	MOVQ     p+0(FP), DI
	MOVQ     groupPass_points(DI), R15
	MOVQ     groupPass_sides(DI), R11
	MOVQ     groupPass_share(DI), R8
	MOVQ     groupPass_factor(DI), R10
	MOVQ     groupPass_sum(DI), R13
	MOVQ     groupPass_path(DI), SI
	VPXOR    Y15, Y15, Y15
	VPCMPEQD Y14, Y14, Y14
	VPSRLD   $25, Y14, Y14
	VPSLLD   $23, Y14, Y14
	MOVQ     groupPass_inner(DI), CX
	MOVQ     groupPass_children(DI), R9
	MOVQ     groupPass_left(DI), DX
	TESTQ    CX, CX
	JZ       tips

down:
	MASKS
	VMOVUPS Y3, (R13)
	MOVL    (R10), BX
	ADDQ    groupPass_factors(DI), BX
	MOVL    (R9), R12
	ADDQ    groupPass_path(DI), R12
	MOVL    4(R9), R14
	ADDQ    groupPass_path(DI), R14
	XORL    AX, AX

downPoint:
	LEFT
	VMOVUPS Y5, (DX)(AX*1)
	VMOVUPS (SI)(AX*1), Y7
	VMULPS  Y7, Y5, Y8
	VMOVUPS Y8, (R12)(AX*1)
	VSUBPS  Y8, Y7, Y7
	VMOVUPS Y7, (R14)(AX*1)
	ADDQ    $32, AX
	CMPQ    AX, R15
	JLT     downPoint
	ADDQ    R15, SI
	ADDQ    R15, DX
	ADDQ    $32, R8
	ADDQ    $8, R9
	ADDQ    $4, R10
	ADDQ    $16, R11
	ADDQ    $32, R13
	DECQ    CX
	JNZ     down

tips:
	MOVQ groupPass_values(DI), R9
	MOVQ SI, DX
	SUBQ groupPass_path(DI), DX
	ADDQ groupPass_below(DI), DX
	MOVQ groupPass_tips(DI), CX

tip:
	MASKS
	MOVL    (R10), BX
	ADDQ    groupPass_factors(DI), BX
	LEAQ    (BX)(R15*1), R12
	VMOVUPS (R9), Y9
	VMOVUPS 32(R9), Y10
	VSUBPS  Y10, Y9, Y9
	VXORPS  Y11, Y11, Y11
	XORL    AX, AX

tipPoint:
	LEFT
	VMOVAPS     Y10, Y8
	VFMADD231PS Y9, Y5, Y8
	VMOVUPS     Y8, (DX)(AX*1)
	VMOVUPS     (SI)(AX*1), Y7
	VFMADD231PS (R12)(AX*1), Y7, Y11
	ADDQ        $32, AX
	CMPQ        AX, R15
	JLT         tipPoint
	VMULPS      Y9, Y11, Y11
	VMULPS      Y3, Y11, Y11
	VMOVUPS     Y11, (R13)
	ADDQ        R15, SI
	ADDQ        R15, DX
	ADDQ        $32, R8
	ADDQ        $64, R9
	ADDQ        $4, R10
	ADDQ        $16, R11
	ADDQ        $32, R13
	DECQ        CX
	JNZ         tip

	// Up, from the last split that is not a tip. R8 is left here.
	MOVQ  groupPass_inner(DI), CX
	TESTQ CX, CX
	JZ    done
	MOVQ  CX, AX
	IMULQ R15, AX
	MOVQ  groupPass_path(DI), SI
	ADDQ  AX, SI
	MOVQ  groupPass_below(DI), DX
	ADDQ  AX, DX
	MOVQ  groupPass_left(DI), R8
	ADDQ  AX, R8
	MOVQ  groupPass_children(DI), R9
	LEAQ  (R9)(CX*8), R9
	MOVQ  groupPass_factor(DI), R10
	LEAQ  (R10)(CX*4), R10
	MOVQ  CX, AX
	SHLQ  $5, AX
	MOVQ  groupPass_sum(DI), R13
	ADDQ  AX, R13

up:
	SUBQ   R15, SI
	SUBQ   R15, DX
	SUBQ   R15, R8
	SUBQ   $8, R9
	SUBQ   $4, R10
	SUBQ   $32, R13
	MOVL   (R10), BX
	ADDQ   groupPass_factors(DI), BX
	ADDQ   R15, BX
	MOVL   (R9), R12
	ADDQ   groupPass_below(DI), R12
	MOVL   4(R9), R14
	ADDQ   groupPass_below(DI), R14
	VXORPS Y11, Y11, Y11
	XORL   AX, AX

upPoint:
	VMOVUPS     (R12)(AX*1), Y5
	VMOVUPS     (R14)(AX*1), Y6
	VSUBPS      Y6, Y5, Y5
	VFMADD231PS (R8)(AX*1), Y5, Y6
	VMOVUPS     Y6, (DX)(AX*1)
	VMULPS      (SI)(AX*1), Y5, Y5
	VFMADD231PS (BX)(AX*1), Y5, Y11
	ADDQ        $32, AX
	CMPQ        AX, R15
	JLT         upPoint
	VMULPS      (R13), Y11, Y11
	VMOVUPS     Y11, (R13)
	DECQ        CX
	JNZ         up

done:
	VZEROUPPER
	RET

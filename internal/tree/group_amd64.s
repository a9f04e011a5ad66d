#include "go_asm.h"
#include "textflag.h"

// Registers of all passes. By split: SI cell, R8 split or tip, R9 right, R10 sums; R12 and
// R14 are the cells of the two children, BX the factors. R11 are all factors, R13 all
// cells, R15 is the number of points, DX the bytes of a cell, CX counts splits. Y15 is 0,
// Y14 is 1.

// Places in a cell, of the first point; the others follow by POINT.
#define PATH  32
#define LEFT  64
#define BELOW 96
#define POINT 96

// MASKS sets Y0 to where the row goes left, Y1 to the path's word, Y2 to where the row is
// on the path, Y3 to what a difference between the sides contributes, and Y4 to the share
// of the left.
#define MASKS(share, shift) \
	VPMOVZXBD (R9), Y0; \
	VPCMPEQD  Y15, Y0, Y0; \
	VMOVDQU   (SI), Y1; \
	VPMOVZXBD shift(R8), Y2; \
	VPSLLVD   Y2, Y1, Y2; \
	VPSRAD    $31, Y2, Y2; \
	VMOVUPS   share(R8), Y4; \
	VANDPS    Y14, Y0, Y3; \
	VSUBPS    Y4, Y3, Y3; \
	VANDPS    Y2, Y3, Y3

// DOWN is a point of a split that is not a tip.
#define DOWN(cell, factor) \
	VMOVAPS     Y4, Y5; \
	VFMADD231PS factor(BX), Y3, Y5; \
	VMOVUPS     Y5, (LEFT+cell)(SI); \
	VMOVUPS     (PATH+cell)(SI), Y7; \
	VMULPS      Y7, Y5, Y8; \
	VMOVUPS     Y8, (PATH+cell)(R12); \
	VSUBPS      Y8, Y7, Y7; \
	VMOVUPS     Y7, (PATH+cell)(R14)

// TIP is a point of a tip. Y9 is its mean, Y3 what goes beyond that.
#define TIP(cell, factor) \
	VMOVAPS     Y9, Y8; \
	VFMADD231PS factor(BX), Y3, Y8; \
	VMOVUPS     Y8, (BELOW+cell)(SI); \
	VMOVUPS     (PATH+cell)(SI), Y7; \
	VFMADD231PS (32+factor)(BX), Y7, Y11

// UP is a point of a split that is not a tip.
#define UP(cell, factor) \
	VMOVUPS     (BELOW+cell)(R12), Y5; \
	VMOVUPS     (BELOW+cell)(R14), Y6; \
	VSUBPS      Y6, Y5, Y5; \
	VFMADD231PS (LEFT+cell)(SI), Y5, Y6; \
	VMOVUPS     Y6, (BELOW+cell)(SI); \
	VMULPS      (PATH+cell)(SI), Y5, Y5; \
	VFMADD231PS (32+factor)(BX), Y5, Y11

// CHILDREN sets R12, R14 and BX.
#define CHILDREN \
	MOVL groupSplit_child(R8), R12; \
	ADDQ R13, R12; \
	MOVL (groupSplit_child+4)(R8), R14; \
	ADDQ R13, R14; \
	MOVL groupSplit_factor(R8), BX; \
	ADDQ R11, BX

// func passAVX2(p *groupPass)
TEXT ·passAVX2(SB), NOSPLIT, $0-8
	MOVQ     p+0(FP), DI
	MOVQ     groupPass_right(DI), R9
	MOVQ     groupPass_splits(DI), R8
	MOVQ     groupPass_factors(DI), R11
	MOVQ     groupPass_cells(DI), R13
	MOVQ     groupPass_sums(DI), R10
	MOVQ     groupPass_points(DI), R15
	MOVQ     R13, SI
	LEAQ     (R15)(R15*2), DX
	INCQ     DX
	SHLQ     $5, DX
	VPXOR    Y15, Y15, Y15
	VPCMPEQD Y14, Y14, Y14
	VPSRLD   $25, Y14, Y14
	VPSLLD   $23, Y14, Y14
	MOVQ     groupPass_inner(DI), CX
	TESTQ    CX, CX
	JZ       tips

down:
	MASKS(groupSplit_share, groupSplit_shift)
	CHILDREN
	VMOVUPS      Y3, (R10)
	VPBROADCASTD groupSplit_bit(R8), Y5
	VPAND        Y2, Y5, Y5
	VPAND        Y0, Y5, Y6
	VPOR         Y1, Y6, Y6
	VMOVDQU      Y6, (R12)
	VPANDN       Y5, Y0, Y7
	VPOR         Y1, Y7, Y7
	VMOVDQU      Y7, (R14)
	DOWN(0, 0)
	DOWN(POINT, 64)
	DOWN(2*POINT, 128)
	CMPQ         R15, $3
	JNE          downMore
	ADDQ         DX, SI

downNext:
	ADDQ $groupSplit__size, R8
	ADDQ $8, R9
	ADDQ $32, R10
	DECQ CX
	JNZ  down
	JMP  tips

downMore:
	LEAQ -3(R15), AX

downPoint:
	ADDQ $POINT, SI
	ADDQ $POINT, R12
	ADDQ $POINT, R14
	ADDQ $64, BX
	DOWN(2*POINT, 128)
	DECQ AX
	JNZ  downPoint
	ADDQ $(32+3*POINT), SI
	JMP  downNext

tips:
	MOVQ groupPass_tips(DI), R8
	MOVQ groupPass_outer(DI), CX

tip:
	MASKS(groupTip_share, groupTip_shift)
	MOVL    groupTip_factor(R8), BX
	ADDQ    R11, BX
	VMOVUPS groupTip_mean(R8), Y9
	VMULPS  groupTip_diff(R8), Y3, Y3
	VXORPS  Y11, Y11, Y11
	TIP(0, 0)
	TIP(POINT, 64)
	TIP(2*POINT, 128)
	CMPQ    R15, $3
	JNE     tipMore
	ADDQ    DX, SI

tipNext:
	VMULPS  Y3, Y11, Y11
	VMOVUPS Y11, (R10)
	ADDQ    $groupTip__size, R8
	ADDQ    $8, R9
	ADDQ    $32, R10
	DECQ    CX
	JNZ     tip
	JMP     splits

tipMore:
	LEAQ -3(R15), AX

tipPoint:
	ADDQ $POINT, SI
	ADDQ $64, BX
	TIP(2*POINT, 128)
	DECQ AX
	JNZ  tipPoint
	ADDQ $(32+3*POINT), SI
	JMP  tipNext

	// Up, from the last split that is not a tip.
splits:
	MOVQ  groupPass_inner(DI), CX
	TESTQ CX, CX
	JZ    done
	MOVQ  CX, SI
	IMULQ DX, SI
	ADDQ  R13, SI
	MOVQ  groupPass_splits(DI), R8
	IMUL3Q $groupSplit__size, CX, AX
	ADDQ  AX, R8
	MOVQ  groupPass_sums(DI), R10
	MOVQ  CX, AX
	SHLQ  $5, AX
	ADDQ  AX, R10

up:
	SUBQ    DX, SI
	SUBQ    $groupSplit__size, R8
	SUBQ    $32, R10
	CHILDREN
	VXORPS  Y11, Y11, Y11
	UP(0, 0)
	UP(POINT, 64)
	UP(2*POINT, 128)
	CMPQ    R15, $3
	JNE     upMore

upNext:
	VMULPS  (R10), Y11, Y11
	VMOVUPS Y11, (R10)
	DECQ    CX
	JNZ     up

done:
	VZEROUPPER
	RET

upMore:
	LEAQ -3(R15), AX

upPoint:
	ADDQ $POINT, SI
	ADDQ $POINT, R12
	ADDQ $POINT, R14
	ADDQ $64, BX
	UP(2*POINT, 128)
	DECQ AX
	JNZ  upPoint
	SUBQ DX, SI
	ADDQ $(32+3*POINT), SI
	JMP  upNext

// Narrow operands at the `avx2` level: widened to f32 while packing.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"
#include "gemm_narrow.h"

#define STEPS 1
#define PACK_WORDS gemm_avx2.pack
#define to_bf16 ck_to_bf16
#include "gemm_narrow_body.h"

const gemm_narrow gemm_narrow_avx2 = {
    .level = &gemm_avx2,
    .steps = 1,
    .pack = pack_narrow,
    .convert = convert_rows,
    .widen = widen_block,
    .round = round_block,
    .round_in_place = round_in_place,
};

#include "../core/ck_target_end.h"
#endif

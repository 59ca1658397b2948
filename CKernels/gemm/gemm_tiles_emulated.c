// The tile kernels without tiles, for tests on machines that lack AMX. Never chosen for running.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"
#include "gemm_tiles.h"

#define AMX_EMULATED 1
#include "gemm_tiles_body.h"

const gemm_tiles gemm_tiles_emulated = {.enter = enter, .leave = leave, .multiply = multiply};

#include "../core/ck_target_end.h"
#endif

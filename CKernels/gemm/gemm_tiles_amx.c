// The tile kernels at the `amx` level.
//
// The configuration is loaded at every call of a product rather than once a thread, because another
// library in the process may have released it, and it is released at the end, so that no thread
// sleeps with 8 KB of tile state that the kernel would have to save.
#if defined(__x86_64__)
#include "../core/ck_amx_begin.h"
#include "gemm_tiles.h"

#define AMX_EMULATED 0
#include "gemm_tiles_body.h"

const gemm_tiles gemm_tiles_amx = {.enter = enter, .leave = leave, .multiply = multiply};

#include "../core/ck_target_end.h"
#endif

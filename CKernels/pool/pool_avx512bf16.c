// Pooling, compiled for the `avx512bf16` level, which rounds to bf16 in one instruction.
#if defined(__x86_64__)
#define CK_ROUNDS_BF16 1
#include "../core/ck_avx512bf16_begin.h"

#include "ck_pool.h"
#include "pool_body.h"
#include "pool_gradient_body.h"

#include "../core/ck_target_end.h"
#endif

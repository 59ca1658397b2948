// Batch normalisation, compiled for the `avx512bf16` level, whose instruction rounds rows of bf16.
#if defined(__x86_64__)
#define CK_ROUNDS_BF16 1
#include "../core/ck_avx512bf16_begin.h"

#define COLUMN_VECTORS 4
#include "batch_norm_body.h"
#include "ck_batch_norm.h"

#include "../core/ck_target_end.h"
#endif

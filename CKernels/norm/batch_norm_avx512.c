// Batch normalisation, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#define COLUMN_VECTORS 4
#include "batch_norm_body.h"
#include "ck_batch_norm.h"

#include "../core/ck_target_end.h"
#endif

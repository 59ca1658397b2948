// Pooling, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#include "ck_pool.h"
#include "pool_body.h"
#include "pool_gradient_body.h"

#include "../core/ck_target_end.h"
#endif

// The machine's peaks at the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#define CHAINS 6
#include "bench_body.h"

#include "../core/ck_target_end.h"
#endif

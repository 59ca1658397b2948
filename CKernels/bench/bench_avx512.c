// The machine's peaks at the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#define CHAINS 12
#include "bench_body.h"

#include "../core/ck_target_end.h"
#endif

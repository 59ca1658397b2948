// The machine's peaks at the `ref` level.
#include "../core/ck_ref_begin.h"

#define CHAINS 3
#include "bench_body.h"

#include "../core/ck_target_end.h"

// Gathering and adding rows of floats, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#include "ck_gather.h"
#include "gather_body.h"
#include "packed_rows_body.h"
#include "scatter_body.h"
#include "scatter_coalesce_body.h"

#include "../core/ck_target_end.h"
#endif

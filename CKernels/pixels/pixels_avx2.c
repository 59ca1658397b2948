// Bytes as floats, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#include "pixels_body.h"

#include "../core/ck_target_end.h"
#endif

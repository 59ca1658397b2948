// Bytes as floats, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#include "pixels_body.h"

#include "../core/ck_target_end.h"
#endif

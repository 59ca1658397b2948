// Convolutions whose result has few channels, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"
#include "../core/ck_native_avx2.h"

#define SUMS 12
#define WIDEST 6

#include "conv_few_body.h"

const few_level few_avx2 = {.tile = tile, .turn = turn, .pack = pack_panel};

#include "../core/ck_target_end.h"
#endif

// Convolutions whose result has few channels, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"
#include "../core/ck_native_avx512.h"

#define SUMS 24
#define WIDEST 8

#include "conv_few_body.h"

const few_level few_avx512 = {.tile = tile, .turn = turn, .pack = pack_panel};

#include "../core/ck_target_end.h"
#endif

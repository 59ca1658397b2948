// The LSTM, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#define LSTM_PRODUCT &gemm_avx512
#include "lstm_body.h"

#include "../core/ck_target_end.h"
#endif

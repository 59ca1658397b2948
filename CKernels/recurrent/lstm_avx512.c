// The LSTM, compiled for the `avx512` level.
#if defined(__x86_64__)
#include "../core/ck_avx512_begin.h"

#define LSTM_PRODUCT &gemm_avx512
#define LSTM_PACK gemm_avx512.pack
#define LSTM_STEPS 1
#include "lstm_body.h"

#include "../core/ck_target_end.h"
#endif

// The LSTM, compiled for the `avx2` level.
#if defined(__x86_64__)
#include "../core/ck_avx2_begin.h"

#define LSTM_PRODUCT &gemm_avx2
#define LSTM_PACK gemm_avx2.pack
#define LSTM_STEPS 1
#include "lstm_body.h"

#include "../core/ck_target_end.h"
#endif

// The kernels' public face: one header a family.
#ifndef CKERNELS_H
#define CKERNELS_H

#include "ck_attention.h"
#include "ck_base.h"
#include "ck_batch_norm.h"
#include "ck_bench.h"
#include "ck_bound.h"
#include "ck_conv.h"
#include "ck_copy.h"
#include "ck_cross_entropy.h"
#include "ck_entry.h"
#include "ck_epilogue.h"
#include "ck_gather.h"
#include "ck_gemm.h"
#include "ck_linear_cross_entropy.h"
#include "ck_loop.h"
#include "ck_lstm.h"
#include "ck_norm.h"
#include "ck_optim.h"
#include "ck_pixels.h"
#include "ck_pool.h"
#include "ck_random.h"
#include "ck_rates.h"
#include "ck_repeat.h"
#include "ck_resample.h"
#include "ck_rotary.h"
#include "ck_scan.h"
#include "ck_softmax.h"
#include "ck_sort.h"
#include "ck_team.h"

#endif

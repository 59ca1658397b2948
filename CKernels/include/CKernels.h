// The kernels' public face: one header a family.
#ifndef CKERNELS_H
#define CKERNELS_H

#include "ck_base.h"
#include "ck_bench.h"
#include "ck_gemm.h"
#include "ck_loop.h"
#include "ck_team.h"

#endif

// Batch normalisation, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "batch_norm_body.h"
#include "ck_batch_norm.h"

#include "../core/ck_target_end.h"

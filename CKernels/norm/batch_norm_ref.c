// Batch normalisation, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#define COLUMN_VECTORS 1
#include "batch_norm_body.h"
#include "ck_batch_norm.h"

#include "../core/ck_target_end.h"

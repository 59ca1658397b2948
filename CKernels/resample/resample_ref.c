// Resampling, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_resample.h"
#include "resample_body.h"

#include "../core/ck_target_end.h"

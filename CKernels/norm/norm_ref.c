// Normalisation, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_norm.h"
#include "norm_body.h"

#include "../core/ck_target_end.h"

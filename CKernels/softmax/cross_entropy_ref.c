// Cross-entropy, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_cross_entropy.h"
#include "cross_entropy_body.h"

#include "../core/ck_target_end.h"

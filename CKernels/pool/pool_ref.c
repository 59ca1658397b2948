// Pooling, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_pool.h"
#include "pool_body.h"
#include "pool_gradient_body.h"

#include "../core/ck_target_end.h"

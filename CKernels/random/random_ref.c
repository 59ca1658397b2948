// Random numbers, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_random.h"
#include "random_body.h"

#include "../core/ck_target_end.h"

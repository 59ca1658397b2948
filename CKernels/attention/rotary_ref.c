// Rotary positions, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "rotary_body.h"

#include "../core/ck_target_end.h"

// The tile machine at the ref level.
#include "../core/ck_ref_begin.h"

#include "loop_body.h"

#include "../core/ck_target_end.h"

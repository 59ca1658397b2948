// Bytes as floats, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "pixels_body.h"

#include "../core/ck_target_end.h"

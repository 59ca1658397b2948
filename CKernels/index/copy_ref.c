// The strided copy, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_copy.h"
#include "copy_body.h"

#include "../core/ck_target_end.h"

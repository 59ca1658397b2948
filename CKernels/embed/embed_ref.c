// Gathering and adding rows of floats, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_gather.h"
#include "gather_body.h"
#include "packed_rows_body.h"
#include "scatter_body.h"
#include "scatter_coalesce_body.h"

#include "../core/ck_target_end.h"

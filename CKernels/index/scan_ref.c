// Float scans and argmax, compiled for the `ref` level.
#include "../core/ck_ref_begin.h"

#include "ck_scan.h"
#include "scan_body.h"

#include "../core/ck_target_end.h"

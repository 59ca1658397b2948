// Opens the region of the `ref` level: the baseline instructions of whatever architecture we build
// for. Include it first in a per-level file, then the family's body, then ck_target_end.h.
//
//     #include "../core/ck_ref_begin.h"
//     #include "loop_body.h"
//     #include "../core/ck_target_end.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ck_base.h"

// One file holds one level.
#define CK_LEVEL CK_ISA_REF
#define CK_HAS_AVX2 0
#define CK_HAS_AVX512 0
/// `name` with this level's suffix: CK_NAME(ck_loop) is ck_loop_ref.
#define CK_NAME(name) name##_ref

// 64-byte vectors are passed to inlined functions only, so that their ABI does not matter.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

#include "ck_vector.h"

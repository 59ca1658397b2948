// Opens the region of the `avx512bf16` level. Used as ck_ref_begin.h is, in a file that is empty on
// other architectures (#if defined(__x86_64__)). Every function up to ck_target_end.h is compiled
// for that level, whatever flags the file is built with.
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ck_base.h"

#define CK_LEVEL CK_ISA_AVX512BF16
#define CK_HAS_AVX2 1
#define CK_HAS_AVX512 1
/// `name` with this level's suffix: CK_NAME(ck_loop) is ck_loop_avx512bf16.
#define CK_NAME(name) name##_avx512bf16

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang attribute push(                                                           \
    __attribute__((target("avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2" \
                          ",fma,f16c,bmi,bmi2,lzcnt,popcnt"))),                         \
    apply_to = function)
#define CK_TARGET_PUSHED 1

#include "ck_vector.h"

// Philox4x32-10 sixteen blocks at a time; random_body.h makes distributions of it, and kernels
// that draw masks while they compute include it by itself.
//
// A word is the lower half of a 64-bit lane, as VPMULUDQ reads and leaves it;
// the upper half is whatever the last product left there. So a round moves no
// word from lane to lane.
#ifndef RANDOM_PHILOX_H
#define RANDOM_PHILOX_H

#include "../core/ck_math.h"
#include "ck_random.h"

typedef uint64_t v8u64 __attribute__((ext_vector_type(8)));

enum { ROUNDS = 10 };

// Eight blocks at a time are a group. As many groups go through the rounds
// together as the registers hold: a group by itself would wait for its
// products.
#if CK_HAS_AVX512
enum { GROUPS = 4, TOGETHER = 4 };
#else
enum { GROUPS = 2, TOGETHER = 1 };
#endif
/// Elements, and vectors of them, that are drawn at a time.
enum { DRAWN = 32 * GROUPS, VECTORS = 2 * GROUPS };

/// What is the same for all blocks: each round's keys, and the counter's upper
/// half.
typedef struct schedule {
  uint64_t k0[ROUNDS], k1[ROUNDS];
  uint64_t first_block;
  uint64_t step;
} schedule;

CK_INLINE schedule make_schedule(const ck_random_args *a) {
  schedule s = {.first_block = (uint64_t)a->stream << 40, .step = (uint64_t)a->state[1]};
  uint32_t k0 = (uint32_t)a->state[0], k1 = (uint32_t)((uint64_t)a->state[0] >> 32);
  for (int round = 0; round < ROUNDS; ++round) {
    s.k0[round] = k0;
    s.k1[round] = k1;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return s;
}

/// The compiler forgets what it knows of a's bits.
CK_INLINE v8u64 hidden(v8u64 a) {
#if CK_HAS_AVX512
  __asm__("" : "+v"(a));
#elif CK_HAS_AVX2
  typedef uint64_t v4u64 __attribute__((ext_vector_type(4)));
  v4u64 low = a.lo, high = a.hi;
  __asm__("" : "+x"(low), "+x"(high));
  a = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
#endif
  return a;
}

/// The product of the lower halves. One instruction, unless the compiler knows more: then it clears
/// upper halves beforehand, or multiplies 64 bits to save a shift.
CK_INLINE v8u64 multiply(v8u64 a, uint32_t m) {
  return hidden((hidden(a) & 0xffffffffu) * (v8u64)(uint64_t)m);
}

/// The words of `groups` times eight blocks from `block` on (a multiple of 8),
/// in the order of elements.
CK_INLINE void philox(const schedule *s, uint64_t block, int groups, ck_v16u *out) {
  const uint32_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u;
  const uint64_t counter = s->first_block + block;
  // In the first two rounds two of the four words are the same in all blocks.
  const uint64_t p2 = (s->step & 0xffffffffu) * m1;
  const uint64_t c0 = (p2 >> 32 ^ counter >> 32 ^ s->k0[0]) & 0xffffffffu;
  const uint64_t p0 = c0 * m0;
  v8u64 c[TOGETHER][4];
#pragma clang loop unroll(full)
  for (int g = 0; g < groups; ++g) {
    const v8u64 place = {0, 4, 1, 5, 2, 6, 3, 7};
    const v8u64 q0 = multiply((counter + (uint64_t)(8 * g)) + place, m0);
    const v8u64 q2 = multiply(q0 >> 32 ^ (s->step >> 32 ^ s->k1[0]), m1);
    c[g][0] = q2 >> 32 ^ (p2 ^ s->k0[1]);
    c[g][1] = q2;
    c[g][2] = q0 ^ (p0 >> 32 ^ s->k1[1]);
    c[g][3] = (v8u64)p0;
  }
#pragma clang loop unroll(full)
  for (int round = 2; round < ROUNDS; ++round) {
#pragma clang loop unroll(full)
    for (int g = 0; g < groups; ++g) {
      const v8u64 q0 = multiply(c[g][0], m0), q2 = multiply(c[g][2], m1);
      c[g][0] = q2 >> 32 ^ c[g][1] ^ s->k0[round];
      c[g][1] = q2;
      c[g][2] = q0 >> 32 ^ c[g][3] ^ s->k1[round];
      c[g][3] = q0;
    }
  }
#pragma clang loop unroll(full)
  for (int g = 0; g < groups; ++g) {
    const v8u64 low = (c[g][0] & 0xffffffffu) | c[g][1] << 32;
    const v8u64 high = (c[g][2] & 0xffffffffu) | c[g][3] << 32;
    out[2 * g] = (ck_v16u)__builtin_shufflevector(low, high, 0, 8, 2, 10, 4, 12, 6, 14);
    out[2 * g + 1] = (ck_v16u)__builtin_shufflevector(low, high, 1, 9, 3, 11, 5, 13, 7, 15);
  }
}

/// u < p for a uniform u of 24 bits is an integer comparison: with this bound.
CK_INLINE int32_t bound_of(double p) { return (int32_t)ceil(p * 0x1p24); }

#endif

// Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers:
// as easy as 1, 2, 3", SC 2011).
//
// There is no generator to carry along: a word is a function of key, step, stream and position.
// So every cut of the work gives the same numbers, and a dropout mask is regenerated, not stored.
#ifndef CK_RANDOM_H
#define CK_RANDOM_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Element i uses word i mod 4 of block i / 4.
typedef enum ck_random_op {
  CK_RANDOM_BITS = 0,       // out: u32 or i32, the word itself
  CK_RANDOM_UNIFORM = 1,    // out: f32 in [0, 1), the word's upper 24 bits over 2^24
  CK_RANDOM_NORMAL = 2,     // out: f32, Box and Muller on the words of pairs (below)
  CK_RANDOM_BERNOULLI = 3,  // out: u8 or bool, 1 where the uniform number is less than p
  CK_RANDOM_DROPOUT = 4,  // out: f32, x / (1 - p) where the uniform number is less than 1 - p, or 0
  CK_RANDOM_SCALED_UNIFORM = 5,  // out: f32, shift + scale · the uniform number, rounded once
  CK_RANDOM_SCALED_NORMAL = 6,   // out: f32, shift + scale · the normal number, rounded once
} ck_random_op;

/// Block b: Philox with key state[0] and the 128-bit counter stream 2^40 + b (lower half), state[1]
/// (upper half), all little-endian in 32-bit words. state[1] counts steps: whoever owns the state
/// adds 1 between two steps, and no number is drawn twice.
///
/// Normal numbers, from words a and b of elements 2k and 2k + 1:
///
///     r = sqrt(-2 log((a + 1/2) / 2^32)), φ = 2 π floor(b / 2^8) / 2^24
///     out[2k] = r cos φ, out[2k + 1] = r sin φ
typedef struct ck_random_args {
  void *out;             // [count]
  const float *x;        // [count]; dropout only. Its backward pass is dropout of the gradient
  const int64_t *state;  // [2]: key, step
  int64_t count;         // less than 2^42
  int64_t stream;        // sets apart the random ops of a step: 0 ... 2^24 - 1
  float p;               // 0 ... 1; bernoulli and dropout
  float scale, shift;    // the scaled ones only
} ck_random_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_random(ck_random_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_random_entries(size_t *count);

/// One block, for tests and for code outside kernels (shuffling, initial values).
void ck_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

#ifdef __cplusplus
}
#endif

#endif

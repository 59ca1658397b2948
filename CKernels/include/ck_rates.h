// How fast the processor at hand is: the one table behind all predicted times.
//
// A prediction decides how a step is spread over a team and is shown beside what was measured. It
// never decides a bit of a result: which kernel runs is chosen by tables of processors
// (`ck_multiplies_bf16_pairs_fast`, the choice of tiles), which say the same on every day.
#ifndef CK_RATES_H
#define CK_RATES_H

#include "ck_base.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What one core does by tiles.
typedef struct ck_tile_rate {
  double products;  // a nanosecond, of operands padded to whole tiles
  double packing;   // bytes of f32 operands a nanosecond
} ck_tile_rate;

/// By the parts that operands are split into; at 0 what the same core does by fused multiply-adds.
/// The choice between tiles and vectors goes by it, so it is the same wherever there are tiles.
/// Measured with a prototype on Emerald Rapids, against MKL: the table in Docs/Products.md, which
/// these numbers fit.
extern const ck_tile_rate ck_tile_rates[4];

/// Of one thread, a nanosecond, where nothing else is said.
typedef struct ck_rates {
  double multiply_adds;   // f32, as products reach them
  double pairs;           // products of bf16 by pairs
  ck_tile_rate tiles[4];  // by the parts of the operands
  double packing;         // bytes of f32 operands brought into panels
  double operations;      // of loops and row kernels, on f32
  double program;         // elements that one instruction of a product's program goes through
  double updates;         // elements that a product updates in its registers
  double near_bytes;      // moved in the thread's own caches
  double far_bytes;       // in the cache that threads share
  double memory_bytes;    // of more than the caches hold
  double link_bytes;      // between a group's cache and memory or other groups, of all its threads
  double team_memory_bytes;  // between all groups and memory

  // Nanoseconds.
  double row, short_row;            // of a row kernel, besides its elements
  double loss_row, short_loss_row;  // the same of cross-entropy
  double tile;                      // of starting on a tile of a product
  double call;                      // of calling a kernel
  double spread;                    // of spreading a call: lines that move between caches
  double team;                      // until a team of two is at work and known to be done
  double barrier;                   // of two threads that arrive together
  double peer, far_peer;  // what each further thread adds to both, in the group and in another one

  int64_t near_cache;   // bytes of a thread's own caches
  int64_t group_cache;  // bytes of the cache that a group of threads shares
  int32_t group;        // threads that share it
} ck_rates;

/// The rates of this kind of processor, from a table.
ck_rates ck_rates_nominal(ck_isa isa);

/// The same with what was measured here, once a process, in about half a millisecond:
/// multiply-adds and bytes moved in the caches, in steps of a twentieth, so that a quiet machine
/// gives the same from run to run. What a busy machine slows is bounded: no rate differs from the
/// table's by more than a factor of two.
const ck_rates *ck_rates_here(ck_isa isa);

#ifdef __cplusplus
}
#endif

#endif

// Products by AMX tiles, of bf16 or of f32 split into two or three bf16 parts: what their driver
// (gemm_tiles.c), the packing (gemm_tiles_pack.c) and the tile kernels agree on.
//
// A panel is 32 rows of A, or 32 columns of B, and one block of K. It is cut into steps of 32 along
// K; a step holds, for each part, two tiles of 1 KB: lanes 0 to 15 and 16 to 31. In a tile of A a
// row is a lane, in a tile of B a column; either way a 32-bit word is a pair of neighbours along K.
// What a panel lacks of 32 lanes or of a last step is zero.
#ifndef GEMM_TILES_H
#define GEMM_TILES_H

#include "gemm_narrow.h"

enum {
  TILE_LANES = 32,
  TILE_STEP = 32,
  TILE_STEP_BYTES = 2048,  // of a part
  TILE_SAFE = 0,
  TILE_WIDE = 1,  // the panel holds f32 instead: [K][32]
};

/// The range of a panel's numbers: biased exponents of the least that is not zero (255 where all
/// are) and of the greatest (255: infinite or not a number).
typedef struct tile_guard {
  uint8_t least, greatest, form, reserved;
} tile_guard;

/// The kernels, by AMX or emulated.
typedef struct gemm_tiles {
  void (*enter)(void);  // before the first product of a call, by each thread
  void (*leave)(void);  // after the last: no thread sleeps with tiles in use
  /// strip[32][32] = the products of the parts that count, over `steps` steps.
  void (*multiply)(float *strip, const void *a, const void *b, int64_t steps, int32_t parts);
} gemm_tiles;

void gemm_tiles_run(const ck_gemm_args *args, const ck_thread *t, const gemm_tiles *tiles,
                    int32_t parts);
/// What the thread writes: the same whatever the guards say, and however many parts there are.
ck_gemm_part gemm_tiles_part_of(const ck_gemm_args *g, const ck_thread *t);
size_t gemm_tiles_scratch_bytes(const ck_gemm_args *args, int32_t parts);
void gemm_tiles_pack_run(const ck_gemm_pack_args *g, const ck_thread *t, int32_t parts);
int64_t gemm_tiles_packed_bytes(int64_t K, int64_t N, int32_t parts);

// MARK: gemm_tiles_pack.c

/// Packs `lanes` lanes and K elements along each: element (i, p) is source[i * across + p * along].
/// `is_b` says which way the tiles lie. With two parts or more the guard is measured.
tile_guard gemm_tiles_pack(void *panel, int64_t lanes, int64_t K, const void *source, ck_dtype type,
                           int64_t across, int64_t along, int32_t parts, bool is_b);
/// f32 panel[p * 32 + j] of a packed panel of B: the sum of its parts, which is exact for three.
void gemm_tiles_join(float *panel, int64_t K, const void *packed, int32_t parts);

/// C[rows, columns] = act(alpha * strip (+ C) + bias) in C's type, from strip[32][32].
typedef struct tile_finish {
  void *c;
  int64_t c_row;
  ck_dtype type;
  const float *bias;  // of the strip's first column, or NULL
  float alpha;
  bool accumulate, relu;
} tile_finish;
void gemm_tiles_finish(const tile_finish *f, const float *strip, int64_t rows, int64_t columns);

#if defined(__x86_64__)
extern const gemm_tiles gemm_tiles_amx, gemm_tiles_emulated;
#endif

#endif

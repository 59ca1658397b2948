// Products with operands or results narrower than f32: what their driver (gemm_narrow.c) and the
// levels (gemm_narrow_avx512.c, …) agree on.
//
// Both operands are repacked into panels of 32-bit words, and a register tile of the f32 shape runs
// over them. A word is one step of K widened to f32, for fused multiply-adds, or two neighbouring
// steps in bf16, for the instruction that multiplies pairs.
#ifndef GEMM_NARROW_H
#define GEMM_NARROW_H

#include "gemm_internal.h"

typedef struct gemm_narrow {
  const gemm_level *level;  // tile and sizes; its own packing is for operands of words
  int32_t steps;            // of K in a word: 1 or 2
  int32_t k_block;          // words of a panel at most, where `steps` is 2
  /// Words of panel[p * stride + i] = source[i * across + (p * steps, …) * along], i < width, of K
  /// elements along; what K lacks of a last word is zero. What `stride` holds beyond `width` is
  /// anything; up to seven words behind the panel may be written.
  void (*pack)(float *panel, int64_t stride, int64_t width, int64_t K, const void *source,
               ck_dtype type, int64_t across, int64_t along);
  /// Words of words[i * row + k], rows of `count` elements that are neighbours; what they lack of a
  /// last word is zero, and so are up to 15 words behind it.
  void (*convert)(float *words, int64_t row, const void *source, ck_dtype type, int64_t source_row,
                  int64_t rows, int64_t count);
  /// words[i] = source[i] beside source[i + gap], two bf16, for i < count; up to 31 words behind
  /// them may be written and 31 elements read. NULL where a word is one step.
  void (*pair)(float *words, const uint16_t *source, int64_t gap, int64_t count);
  /// out[j * K + p] = panel[p * stride + j] for j < 8, for lanes along K; NULL where no tile has
  /// them so.
  void (*turn)(float *out, const float *panel, int64_t stride, int64_t K);
  /// Between a block of f32, in cache, and C.
  void (*widen)(float *block, int64_t row, const void *c, ck_dtype type, int64_t c_row,
                int64_t rows, int64_t columns);
  void (*round)(void *c, ck_dtype type, int64_t c_row, const float *block, int64_t row,
                int64_t rows, int64_t columns);
  /// Rounds the numbers of a block to what the type can hold.
  void (*round_in_place)(float *block, ck_dtype type, int64_t row, int64_t rows, int64_t columns);
} gemm_narrow;

/// All of a product, this thread's share.
void gemm_narrow_run(const ck_gemm_args *args, const ck_thread *t, const gemm_narrow *narrow);
/// What the thread writes of it.
ck_gemm_part gemm_narrow_part_of(const ck_gemm_args *g, const gemm_narrow *narrow,
                                 const ck_thread *t);
void gemm_narrow_pack_run(const ck_gemm_pack_args *g, const ck_thread *t,
                          const gemm_narrow *narrow);
size_t gemm_narrow_scratch_bytes(const ck_gemm_args *args, const gemm_narrow *narrow);
/// Floats of one packed matrix.
int64_t gemm_narrow_packed_floats(int64_t K, int64_t N, const gemm_narrow *narrow);

static inline int64_t gemm_type_bytes(int16_t type) { return type == CK_F32 ? 4 : 2; }

/// Element `at` of memory of that type.
float gemm_ref_load(const void *p, int16_t type, int64_t at);
void gemm_ref_store(void *p, int16_t type, int64_t at, float x);

#if defined(__x86_64__)
extern const gemm_narrow gemm_narrow_avx2, gemm_narrow_avx512, gemm_pairs_avx512bf16;
#endif

#endif

// Matrix products with float32 sums, batched, with an epilogue. Operands and result are f32, bf16
// or f16.
//
// Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008); Van Zee and
// van de Geijn, "BLIS" (2015). Any element strides of A and B are folded into the packing, so
// transposes and slices cost no copy.
//
// Not here: convolution.
#ifndef CK_GEMM_H
#define CK_GEMM_H

#include "ck_base.h"
#include "ck_entry.h"
#include "ck_epilogue.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CK_GEMM_BATCH_DIMS 6

/// How exact a product must be. Docs/Products.md says which kernels each may use.
typedef enum ck_gemm_precision {
  CK_GEMM_HIGHEST = 0,  // as an f32 product by fused multiply-adds
  CK_GEMM_HIGH = 1,     // f32 operands may be cut to 16 significant bits
  CK_GEMM_MIXED = 2,    // operands may be rounded to bf16; where that gains nothing they are not
} ck_gemm_precision;

/// What of a product a number that is only known at run time cuts off.
typedef enum ck_gemm_limit {
  CK_GEMM_WHOLE = 0,
  CK_GEMM_LIVE_ROWS = 1,   // the first rows of A and C; what follows in C becomes zeros
  CK_GEMM_LIVE_TERMS = 2,  // the first terms of each sum; what follows of A and B is not read
} ck_gemm_limit;

/// For each batch index t:
///
///     C[t] = epilogue(alpha * A[t] B[t] (+ C[t] where accumulate))        A: M x K, B: K x N, C: M
///     x N
///
/// - A[t][i][p] = a[t . a_batch + i * a_row + p * a_col], B[t][p][j] = b[t . b_batch + p * b_row +
///   j * b_col], C[t][i][j] = c[t . c_batch + i * c_row + j]. Strides count elements; those of A
///   and B may be any (negative, 0 to broadcast), the rows of C must not overlap.
/// - Order, at ref, avx2 and avx512: K is cut into equal blocks (`ck_gemm_k_block`), a block is
///   summed in ascending order by fused multiply-adds from 0, and C = fma(alpha, block, C) in
///   ascending order. So each element has the same bits whatever the level, the team and the
///   tiling. The bf16 instructions of avx512bf16 and amx sum in other orders, the same for every
///   team.
/// - Of an f32 product with one row or one column (M = 1 or N = 1), which is bound by reading a
///   matrix once, the blocks have 4096 terms, and a block is summed in 16 lanes: lane l takes its
///   terms l, l + 16, … in ascending order from 0; then lane l adds lane l + 8 (l < 8), l + 4,
///   l + 2 and l + 1.
/// - C overlaps neither A nor B.
typedef struct ck_gemm_args {
  float *c;
  const float *a;
  const float *b;
  int64_t M, N, K;
  int64_t a_row, a_col;
  int64_t b_row, b_col;
  int64_t c_row;

  // Batch dimensions, outermost first; unused ones have size 1.
  int64_t batch[CK_GEMM_BATCH_DIMS];
  int64_t a_batch[CK_GEMM_BATCH_DIMS];
  int64_t b_batch[CK_GEMM_BATCH_DIMS];
  int64_t c_batch[CK_GEMM_BATCH_DIMS];

  float alpha;
  int32_t accumulate;  // 1: adds to what C holds. 0: C is only written
  int32_t b_packed;  // 1: b is what `ck_gemm_pack_b` wrote at this level; b_row, b_col are unused,
                     // b_batch counts floats of the packed form

  // ck_dtype: CK_F32 (0), CK_BF16 or CK_F16. `a`, `b` and `c` point at elements of these types, and
  // strides count such elements. Sums are f32 and are rounded once, to the nearest even, on the way
  // to C or, as c_type says, to the epilogue program; `bias` is f32.
  int16_t a_type, b_type, c_type;
  int16_t precision;  // ck_gemm_precision

  // Of one matrix, without a program: how many rows or terms there are, up to M or K. Blocks and
  // scratch stay those of M and K, the live ones are cut over the team. NULL: all.
  const int32_t *live;
  int32_t limit;  // ck_gemm_limit

  // After alpha. A program: `c` is not touched, and `accumulate` must be 0. Combinations: only
  // where `ck_gemm_combines`. C may lie exactly where `other` does if both have one type and K is
  // one block or C is bf16.
  ck_epilogue epilogue;
} ck_gemm_args;

static inline const ck_loop_args *ck_gemm_program(const ck_gemm_args *args) {
  return ck_epilogue_program(&args->epilogue, args);
}

/// The entry at that level (the best one not above it). Args: `ck_gemm_args`.
ck_kernel ck_gemm(ck_isa isa);
/// Scratch that each thread needs, in bytes.
size_t ck_gemm_scratch_bytes(const ck_gemm_args *args, ck_isa isa);
/// Whether the entry at that level takes `combination`, and a mask after it where `masks`: of more
/// than one row and column, without a program, by fused multiply-adds where everything is f32, and
/// as CK_MOMENTUM says; by pairs of bf16 all but that one and masks, where C and `other` are f32 or
/// bf16.
bool ck_gemm_combines(const ck_gemm_args *args, bool masks, ck_isa isa);
/// The length of the blocks that K is cut into (the last may be shorter) unless M or N is 1, and
/// that packed forms are cut into always: a function of K alone.
int64_t ck_gemm_k_block(int64_t K);

/// What one thread of a team writes: rows, counted through all matrices, by columns. It reads the
/// same rows of A and columns of B. Empty where row == row_end or column == column_end.
typedef struct ck_gemm_part {
  int64_t row, row_end;
  int64_t column, column_end;
} ck_gemm_part;

/// The part of thread `index` of `count`: what the kernel at that level itself goes by. A function
/// of shape, strides, level and team; it decides no bit of the result.
ck_gemm_part ck_gemm_part_of(const ck_gemm_args *args, ck_isa isa, int32_t index, int32_t count);

/// About how many nanoseconds one thread takes at that level, packing included, the epilogue's
/// program and slow memory not: a prediction for plans, by `ck_rates_here`.
double ck_gemm_nanoseconds(const ck_gemm_args *args, ck_isa isa);

/// Packs `count` matrices B [K, N] for `ck_gemm_args.b_packed`: the form depends on the level, K
/// and N, never on M.
///
/// The types and the precision must be those of the product, because the form depends on them too.
typedef struct ck_gemm_pack_args {
  float *packed;   // [count][ck_gemm_packed_bytes / 4], 64-byte aligned
  const float *b;  // B[t][p][j] = b[t * b_batch + p * b_row + j * b_col]
  int64_t K, N;
  int64_t b_row, b_col;
  int64_t count, b_batch;
  int16_t a_type, b_type;  // of the product's operands; `b` points at elements of b_type
  int16_t precision;       // ck_gemm_precision
  int16_t reserved;
} ck_gemm_pack_args;

/// Whether the product brings B into panels on every run, which packing beforehand would spare it.
bool ck_gemm_packs_b(const ck_gemm_args *args, ck_isa isa);
/// The packing entry at that level. Args: `ck_gemm_pack_args`.
ck_kernel ck_gemm_pack_b(ck_isa isa);
/// The rows of `gemm_pack_kernels.inc`.
const ck_entry *ck_gemm_pack_entries(size_t *count);
/// Bytes that one packed matrix takes, a multiple of 4. Looks at K, N, the types and the precision.
size_t ck_gemm_packed_bytes(const ck_gemm_pack_args *args, ck_isa isa);
/// The same in floats, of f32 operands in the highest precision.
size_t ck_gemm_packed_floats(int64_t K, int64_t N, ck_isa isa);

/// A row of `gemm_kernels.inc`: what the tests and the benchmarks iterate over.
typedef struct ck_gemm_row {
  ck_isa isa;
  const char *name;
  ck_kernel kernel;
  int32_t tile_rows, tile_columns;
  // Gives the same bits as every other row that says so, in the highest precision with f32
  // operands.
  bool consistent;
  // Never chosen for running: computes what `isa` does, for tests on machines without it. Needs
  // CK_ISA_AVX512.
  bool emulated;
} ck_gemm_row;

/// The rows, best first, the reference last.
const ck_gemm_row *ck_gemm_rows(size_t *count);
/// As `ck_gemm_part_of`, of that row's kernel.
ck_gemm_part ck_gemm_row_part_of(const ck_gemm_row *row, const ck_gemm_args *args, int32_t index,
                                 int32_t count);

#ifdef __cplusplus
}
#endif

#endif

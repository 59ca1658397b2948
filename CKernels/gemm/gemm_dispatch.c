// The matrix products' list: which entry a level runs, and what it needs.
#include "ck_rates.h"
#include "gemm_tiles.h"

static const ck_gemm_row rows[] = {
#define CK_GEMM(isa, name, rows, columns, consistent, emulated) \
  {isa, #name, name, rows, columns, consistent, emulated},
#include "gemm_kernels.inc"
#undef CK_GEMM
};

const ck_gemm_row *ck_gemm_rows(size_t *count) {
  *count = sizeof rows / sizeof *rows;
  return rows;
}

ck_kernel ck_gemm(ck_isa isa) {
  const ck_gemm_row *row = rows;
  while (row->isa > isa || row->emulated) row++;
  return row->kernel;
}

// MARK: How a level computes a product

/// What the choice depends on; where B is packed, M is left out, because the form of the packed B
/// must not depend on it.
typedef struct question {
  int64_t M, N, K;  // M 0: B is packed
  int16_t a_type, b_type, precision;
  bool is_f32;  // operands and result
} question;

static question question_of(const ck_gemm_args *g) {
  return (question){
      .M = g->b_packed ? 0 : g->M,
      .N = g->N,
      .K = g->K,
      .a_type = g->a_type,
      .b_type = g->b_type,
      .precision = g->precision,
      .is_f32 = gemm_is_f32(g),
  };
}

static question packing_question(const ck_gemm_pack_args *g) {
  return (question){
      .N = g->N,
      .K = g->K,
      .a_type = g->a_type,
      .b_type = g->b_type,
      .precision = g->precision,
  };
}

/// The f32 drivers' level, the narrow one's where that is taken, and the parts of a product by
/// tiles where it is one; nothing for the reference.
typedef struct way {
  const gemm_level *level;
  const gemm_narrow *narrow;
  int32_t parts;
} way;

/// Whether the driver of one row or one column is taken.
static bool goes_by_lanes(way way, const ck_gemm_args *g) {
  return way.level && !way.parts && !way.narrow && gemm_is_vector(g);
}

#if defined(__x86_64__)

/// Whether a product by tiles of so many parts takes less time than one by fused multiply-adds.
static bool is_faster_by_tiles(question q, int32_t parts) {
  if (q.M == 0) return q.N >= 16 && q.K >= 16;  // packed once, for any M
  const ck_tile_rate rate = ck_tile_rates[parts];
  const double m = (double)((q.M + 31) / 32 * 32), n = (double)((q.N + 31) / 32 * 32);
  const double k = (double)((q.K + 31) / 32 * 32);
  const double packed = (double)((q.M + q.N) * q.K * 4);
  return m * n * k / rate.products + packed / rate.packing <
         (double)q.M * (double)q.N * (double)q.K / ck_tile_rates[0].products;
}

/// The parts that the precision asks for: one where operands are bf16 or may be rounded to it.
static int32_t parts_of(question q) {
  const bool rounds = q.precision == CK_GEMM_MIXED || (q.a_type == CK_BF16 && q.b_type == CK_BF16);
  return rounds ? 1 : q.precision == CK_GEMM_HIGH ? 2 : 3;
}

/// Whether rounding operands to pairs gains: where both are bf16 already there is nothing to lose;
/// f32 ones are read in place by the f32 kernels where few rows or columns would have to repay
/// packing.
static bool is_faster_by_pairs(question q) {
  if (q.a_type != CK_F32 || q.b_type != CK_F32) return true;
  return q.N >= 32 && q.K >= 32 && (q.M == 0 || q.M >= 4);
}

static way way_of(question q, ck_isa isa) {
  const int32_t parts = parts_of(q);
  if (isa >= CK_ISA_AMX && is_faster_by_tiles(q, parts))
    return (way){&gemm_avx512, &gemm_narrow_avx512, parts};
  if (isa >= CK_ISA_AVX512BF16 && parts == 1 && ck_multiplies_bf16_pairs_fast() &&
      is_faster_by_pairs(q))
    return (way){&gemm_avx512, &gemm_pairs_avx512bf16, 0};
  if (isa >= CK_ISA_AVX512) return (way){&gemm_avx512, q.is_f32 ? NULL : &gemm_narrow_avx512, 0};
  if (isa >= CK_ISA_AVX2) return (way){&gemm_avx2, q.is_f32 ? NULL : &gemm_narrow_avx2, 0};
  return (way){0};
}

/// By tiles whatever they would cost, except where a packed B has another form.
static way emulated_way_of(question q) {
  const way way = way_of(q, CK_ISA_AMX);
  if (q.M == 0 && !way.parts) return way;
  return (struct way){&gemm_avx512, &gemm_narrow_avx512, parts_of(q)};
}

static void run_by(way way, const ck_gemm_args *args, const ck_thread *t, const gemm_tiles *tiles) {
  if (way.parts) {
    gemm_tiles_run(args, t, tiles, way.parts);
  } else if (way.narrow) {
    gemm_narrow_run(args, t, way.narrow);
  } else if (goes_by_lanes(way, args)) {
    gemm_vector_run(args, t, way.level);
  } else {
    gemm_run(args, t, way.level);
  }
  if (args->limit == CK_GEMM_LIVE_ROWS) gemm_clear_rest(args, t);
}

static void run(const ck_gemm_args *args, const ck_thread *t, ck_isa isa) {
  run_by(way_of(question_of(args), isa), args, t, &gemm_tiles_amx);
}

void ck_gemm_amx(const void *args, const ck_thread *t) { run(args, t, CK_ISA_AMX); }
void ck_gemm_avx512bf16(const void *args, const ck_thread *t) { run(args, t, CK_ISA_AVX512BF16); }
void ck_gemm_f32_14x32_avx512(const void *args, const ck_thread *t) { run(args, t, CK_ISA_AVX512); }
void ck_gemm_f32_6x16_avx2(const void *args, const ck_thread *t) { run(args, t, CK_ISA_AVX2); }

void ck_gemm_amx_emulated(const void *args, const ck_thread *t) {
  run_by(emulated_way_of(question_of(args)), args, t, &gemm_tiles_emulated);
}

#else

static way way_of(question q, ck_isa isa) {
  (void)q, (void)isa;
  return (way){0};
}

static way emulated_way_of(question q) { return way_of(q, CK_ISA_REF); }

#endif

bool ck_gemm_combines(const ck_gemm_args *args, bool masks, ck_isa isa) {
  const way way = way_of(question_of(args), isa);
  if (way.parts || gemm_is_vector(args) || args->epilogue.program) return false;
  const bool updates = args->epilogue.combination == CK_MOMENTUM;
  if (way.narrow)
    return way.narrow->steps == 2 && !masks && args->c_type != CK_F16 &&
           args->epilogue.other_type != CK_F16 && !updates;
  if (updates &&
      (gemm_matrices(args) != 1 || args->K > ck_gemm_k_block(args->K) || args->epilogue.relu))
    return false;
  return gemm_is_f32(args) && args->epilogue.other_type == CK_F32;
}

static size_t greater(size_t a, size_t b) { return a > b ? a : b; }

size_t ck_gemm_scratch_bytes(const ck_gemm_args *args, ck_isa isa) {
  const question q = question_of(args);
  const way way = way_of(q, isa);
  size_t tiles = 0;  // the emulated row may take tiles where the real one does not
#if defined(__x86_64__)
  if (isa >= CK_ISA_AMX) tiles = gemm_tiles_scratch_bytes(args, parts_of(q));
#endif
  if (way.narrow) return greater(tiles, gemm_narrow_scratch_bytes(args, way.narrow));
  if (goes_by_lanes(way, args)) return greater(tiles, gemm_vector_scratch_bytes(args));
  if (way.level) return greater(tiles, gemm_scratch_bytes(args, way.level));
  const ck_loop_args *epilogue = ck_gemm_program(args);
  if (!epilogue) return 0;
  return (size_t)gemm_ref_row(args) * sizeof(float) + ck_loop_scratch_bytes(epilogue);
}

static ck_gemm_part part_of(const ck_gemm_args *args, way way, const ck_thread *t) {
#if defined(__x86_64__)
  if (way.parts) return gemm_tiles_part_of(args, t);
#endif
  if (way.narrow) return gemm_narrow_part_of(args, way.narrow, t);
  if (goes_by_lanes(way, args)) return gemm_vector_part_of(args, way.level, t);
  if (way.level) return gemm_part_of(args, way.level, t);
  ck_gemm_part part = {.column_end = args->N};
  ck_share(gemm_matrices(args) * gemm_rows(args), t, &part.row, &part.row_end);
  return part;
}

ck_gemm_part ck_gemm_part_of(const ck_gemm_args *args, ck_isa isa, int32_t index, int32_t count) {
  const ck_thread thread = {.index = index, .count = count};
  return part_of(args, way_of(question_of(args), isa), &thread);
}

ck_gemm_part ck_gemm_row_part_of(const ck_gemm_row *row, const ck_gemm_args *args, int32_t index,
                                 int32_t count) {
  const question q = question_of(args);
  const ck_thread thread = {.index = index, .count = count};
  return part_of(args, row->emulated ? emulated_way_of(q) : way_of(q, row->isa), &thread);
}

// MARK: Predictions

/// By vectors: columns are padded to whole ones, and each tile is started on.
static double by_vectors(const ck_gemm_args *g, way way, const ck_rates *r) {
  const double K = (double)g->K;
  if (goes_by_lanes(way, g)) return (double)g->M * (double)g->N * K / r->multiply_adds;
  const bool in_pairs = way.narrow && way.narrow->steps == 2;
  const gemm_level *level = way.level;
  const int64_t vectors = (g->N + level->vector - 1) / level->vector;
  const int64_t tiles = ((g->M + level->max_rows - 1) / level->max_rows) *
                        ((g->N + level->columns - 1) / level->columns);
  const double products = (double)g->M * (double)(vectors * level->vector) * K;
  const int64_t packed =
      way.narrow ? (g->b_packed ? g->M : g->M + g->N) * g->K : gemm_packed_elements(g, level);
  return products / (in_pairs ? r->pairs : r->multiply_adds) + (double)packed * 4 / r->packing +
         (double)tiles * r->tile;
}

double ck_gemm_nanoseconds(const ck_gemm_args *args, ck_isa isa) {
  const ck_rates *r = ck_rates_here(isa);
  const double matrices = (double)gemm_matrices(args);
  const way way = way_of(question_of(args), isa);
  const double products = (double)args->M * (double)args->N * (double)args->K;
  if (!way.level) return matrices * products / r->multiply_adds;
  if (!way.parts) return matrices * by_vectors(args, way, r);
  const double operands = (double)args->K * (double)(args->M + (args->b_packed ? 0 : args->N)) * 4;
  return matrices *
         (products / r->tiles[way.parts].products + operands / r->tiles[way.parts].packing);
}

// MARK: B packed beforehand

bool ck_gemm_packs_b(const ck_gemm_args *args, ck_isa isa) {
  if (args->b_packed || args->K == 0) return false;
  const way way = way_of(question_of(args), isa);
  if (way.parts || way.narrow) return true;
  return way.level && !goes_by_lanes(way, args) && gemm_likes_packed_b(args, way.level);
}

#if defined(__x86_64__)
static void pack(const ck_gemm_pack_args *g, const ck_thread *t, ck_isa isa) {
  const way way = way_of(packing_question(g), isa);
  if (way.parts) {
    gemm_tiles_pack_run(g, t, way.parts);
  } else if (way.narrow->steps == 1 && g->b_type == CK_F32) {
    gemm_pack_run(g, t, way.level);  // the same form
  } else {
    gemm_narrow_pack_run(g, t, way.narrow);
  }
}

void ck_gemm_pack_avx2(const void *args, const ck_thread *t) { pack(args, t, CK_ISA_AVX2); }
void ck_gemm_pack_avx512(const void *args, const ck_thread *t) { pack(args, t, CK_ISA_AVX512); }
void ck_gemm_pack_avx512bf16(const void *args, const ck_thread *t) {
  pack(args, t, CK_ISA_AVX512BF16);
}
void ck_gemm_pack_amx(const void *args, const ck_thread *t) { pack(args, t, CK_ISA_AMX); }
#endif

static const ck_entry packs[] = {
#define CK_GEMM_PACK(level, function) {level, 0, true, #function, function},
#include "gemm_pack_kernels.inc"
#undef CK_GEMM_PACK
};

const ck_entry *ck_gemm_pack_entries(size_t *count) {
  *count = sizeof packs / sizeof packs[0];
  return packs;
}

ck_kernel ck_gemm_pack_b(ck_isa isa) {
  return ck_entry_find(packs, sizeof packs / sizeof packs[0], 0, isa);
}

size_t ck_gemm_packed_bytes(const ck_gemm_pack_args *args, ck_isa isa) {
  const way way = way_of(packing_question(args), isa);
#if defined(__x86_64__)
  if (way.parts) return (size_t)gemm_tiles_packed_bytes(args->K, args->N, way.parts);
#endif
  if (!way.narrow) return (size_t)(args->K * args->N) * sizeof(float);
  return (size_t)gemm_narrow_packed_floats(args->K, args->N, way.narrow) * sizeof(float);
}

size_t ck_gemm_packed_floats(int64_t K, int64_t N, ck_isa isa) {
  const ck_gemm_pack_args args = {.K = K, .N = N};
  return ck_gemm_packed_bytes(&args, isa) / sizeof(float);
}

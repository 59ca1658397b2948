// Linear layer and cross-entropy in chunks of rows: a composite of the products' entries and the
// cross-entropy's.
//
// A chunk's logits become their own gradient in place and are multiplied on at once, while the last
// level of the cache may still hold them. Nothing here computes on vectors, so there is one body
// for all levels; the parts bring theirs.
#include "ck_linear_cross_entropy.h"

#include "../core/index.h"

enum {
  MOST_ROWS = 256,
  // W is packed anew for each chunk, and dW read and written: 64 rows took 1.3 times as long.
  LEAST_ROWS = 128,
  CHUNK_FLOATS = 1 << 24,  // of logits; between the two bounds on rows
};

int64_t ck_linear_cross_entropy_chunk(int64_t rows, int64_t cols) {
  int64_t chunk = CHUNK_FLOATS / (cols > 0 ? cols : 1) / 64 * 64;
  chunk = chunk < LEAST_ROWS ? LEAST_ROWS : chunk > MOST_ROWS ? MOST_ROWS : chunk;
  return chunk < rows ? chunk : rows > 0 ? rows : 1;
}

/// Floats from row to row of the chunk's logits: rows a multiple of 2 KB apart would fall on the
/// same sets of the first-level cache when the gradient is read by columns.
static int64_t logits_stride(const ck_linear_cross_entropy_args *a) {
  const int64_t lines = (a->cols + 15) / 16;
  return (lines | 1) * 16;
}

static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

static size_t logits_bytes(const ck_linear_cross_entropy_args *a) {
  const int64_t chunk = ck_linear_cross_entropy_chunk(a->rows, a->cols);
  return whole_lines((size_t)(chunk * logits_stride(a)) * sizeof(float));
}

static size_t sums_bytes(const ck_linear_cross_entropy_args *a) {
  const ck_cross_entropy_args losses = {.rows = ck_linear_cross_entropy_chunk(a->rows, a->cols),
                                        .cols = a->cols};
  return whole_lines(ck_cross_entropy_workspace_bytes(&losses));
}

static bool has_gradient(const ck_linear_cross_entropy_args *a) {
  return a->dx != NULL || a->dw != NULL || a->db != NULL;
}

// MARK: The parts of a chunk

/// p + n; sizes are asked for before there is memory.
static const float *advanced(const float *p, int64_t n) { return p == NULL ? NULL : p + n; }

/// A chunk: its rows, and its logits or their gradient.
typedef struct chunk {
  int64_t begin, rows;
  float *logits;
} chunk;

/// The products of a chunk.
typedef enum part { LOGITS, DX, DW, DB, PARTS } part;

static ck_gemm_args product(int64_t M, int64_t N, int64_t K) {
  return (ck_gemm_args){
      .M = M, .N = N, .K = K, .c_row = N, .alpha = 1, .batch = {1, 1, 1, 1, 1, 1}};
}

/// logits = X W + bias
static ck_gemm_args logits_of(const ck_linear_cross_entropy_args *a, chunk at) {
  ck_gemm_args g = product(at.rows, a->cols, a->depth);
  g.c = at.logits, g.c_row = logits_stride(a);
  g.a = advanced(a->x, at.begin * a->x_row), g.a_row = a->x_row, g.a_col = a->x_col;
  g.b = a->w, g.b_row = a->w_row, g.b_col = a->w_col;
  g.epilogue.bias = a->bias;
  return g;
}

/// dX = G Wᵀ
static ck_gemm_args dx_of(const ck_linear_cross_entropy_args *a, chunk at) {
  ck_gemm_args g = product(at.rows, a->depth, a->cols);
  g.c = (float *)advanced(a->dx, at.begin * a->depth);
  g.a = at.logits, g.a_row = logits_stride(a), g.a_col = 1;
  g.b = a->w, g.b_row = a->w_col, g.b_col = a->w_row;
  return g;
}

/// dW += Xᵀ G, or its transpose
static ck_gemm_args dw_of(const ck_linear_cross_entropy_args *a, chunk at) {
  ck_gemm_args g =
      a->dw_transposed ? product(a->cols, a->depth, at.rows) : product(a->depth, a->cols, at.rows);
  const float *x = advanced(a->x, at.begin * a->x_row);
  if (a->dw_transposed) {
    g.a = at.logits, g.a_row = 1, g.a_col = logits_stride(a);
    g.b = x, g.b_row = a->x_row, g.b_col = a->x_col;
  } else {
    g.a = x, g.a_row = a->x_col, g.a_col = a->x_row;
    g.b = at.logits, g.b_row = logits_stride(a), g.b_col = 1;
  }
  g.c = a->dw;
  g.accumulate = at.begin > 0;
  return g;
}

/// db += 1ᵀ G
static ck_gemm_args db_of(const ck_linear_cross_entropy_args *a, chunk at) {
  static const float one = 1;
  ck_gemm_args g = product(1, a->cols, at.rows);
  g.a = &one;
  g.b = at.logits, g.b_row = logits_stride(a), g.b_col = 1;
  g.c = a->db;
  g.accumulate = at.begin > 0;
  return g;
}

static ck_gemm_args product_of(const ck_linear_cross_entropy_args *a, chunk at, part which) {
  ck_gemm_args g = which == LOGITS ? logits_of(a, at)
                   : which == DX   ? dx_of(a, at)
                   : which == DW   ? dw_of(a, at)
                                   : db_of(a, at);
  // Adding up the bias's gradient gains nothing by rounding.
  g.precision = which == DB ? CK_GEMM_HIGHEST : (int16_t)a->precision;
  return g;
}

/// The most that `size` says of a product, over the chunks: the last may be shorter.
static size_t most_of(const ck_linear_cross_entropy_args *a, part which,
                      size_t (*size)(const ck_gemm_args *, ck_isa)) {
  const int64_t rows = ck_linear_cross_entropy_chunk(a->rows, a->cols);
  const ck_gemm_args full = product_of(a, (chunk){0, rows, NULL}, which);
  const ck_gemm_args rest = product_of(a, (chunk){0, a->rows % rows, NULL}, which);
  const size_t x = size(&full, (ck_isa)a->isa), y = size(&rest, (ck_isa)a->isa);
  return x > y ? x : y;
}

/// One product of a chunk.
static void multiply(const ck_linear_cross_entropy_args *a, const ck_thread *t, chunk at,
                     part which) {
  const ck_gemm_args g = product_of(a, at, which);
  ck_gemm((ck_isa)a->isa)(&g, t);
}

/// The cross-entropy of a chunk. A mean is a sum here: what divides it is known for all rows only.
static ck_cross_entropy_args loss_of(const ck_linear_cross_entropy_args *a, chunk at) {
  static const int32_t sizes[] = {[CK_I32] = 4, [CK_I64] = 8, [CK_U8] = 1};
  const bool reduces = a->reduction != CK_REDUCTION_NONE;
  return (ck_cross_entropy_args){
      .loss = reduces ? a->loss : a->loss + at.begin,
      .gradient = at.logits,
      .logits = at.logits,
      .labels = (const char *)a->labels + at.begin * sizes[a->label_dtype],
      .class_weights = a->class_weights,
      .upstream = reduces || a->upstream == NULL ? NULL : a->upstream + at.begin,
      .workspace = (char *)a->workspace + logits_bytes(a),
      .error = a->error,
      .rows = at.rows,
      .cols = a->cols,
      .first_row = at.begin,
      .logits_stride = logits_stride(a),
      .gradient_stride = logits_stride(a),
      .ignore_index = a->ignore_index,
      .smoothing = a->smoothing,
      .label_dtype = a->label_dtype,
      .reduction = reduces ? CK_REDUCTION_SUM : CK_REDUCTION_NONE,
      .logits_dtype = CK_F32,
      .gradient_dtype = CK_F32,
  };
}

/// What the mean divides by: Σ_i w[labels_i]. Each thread adds all rows for itself: they are few
/// beside the products.
static double divisor_of(const ck_linear_cross_entropy_args *a) {
  if (a->reduction != CK_REDUCTION_MEAN) return 1;
  double sum = 0;
  for (int64_t i = 0; i < a->rows; ++i) {
    const int64_t label = index_at(a->labels, a->label_dtype, i);
    if (label == a->ignore_index || label < 0 || label >= a->cols) continue;
    sum += a->class_weights == NULL ? 1 : a->class_weights[label];
  }
  return sum;
}

// MARK: The entry

void ck_linear_cross_entropy_any(const void *args, const ck_thread *t) {
  const ck_linear_cross_entropy_args *a = args;
  const ck_kernel cross_entropy = ck_cross_entropy(
      has_gradient(a) ? CK_CROSS_ENTROPY_COMBINED : CK_CROSS_ENTROPY_FORWARD, (ck_isa)a->isa);
  const bool reduces = a->reduction != CK_REDUCTION_NONE;
  const double divisor = divisor_of(a);
  // A mean of nothing that counts is a NaN without a gradient.
  const float upstream =
      divisor == 0 ? 0 : (reduces && a->upstream != NULL ? *a->upstream : 1) / (float)divisor;
  const int64_t chunk_rows = ck_linear_cross_entropy_chunk(a->rows, a->cols);
  double loss = 0;
  // With no rows at all, the gradients of W and bias are written by products over no rows.
  int64_t begin = 0;
  do {
    const int64_t left = a->rows - begin;
    const chunk at = {begin, left < chunk_rows ? left : chunk_rows, a->workspace};
    multiply(a, t, at, LOGITS);
    ck_barrier(t);
    ck_cross_entropy_args losses = loss_of(a, at);
    if (reduces) losses.upstream = &upstream;
    cross_entropy(&losses, t);
    // The first thread has just written the chunk's loss.
    if (reduces && t->index == 0) loss += *a->loss;
    ck_barrier(t);
    if (a->dx != NULL) multiply(a, t, at, DX);
    if (a->dw != NULL) multiply(a, t, at, DW);
    if (a->db != NULL) multiply(a, t, at, DB);
    begin += chunk_rows;
    // The next chunk's logits take the place of the gradient that has just been read.
    if (begin < a->rows) ck_barrier(t);
  } while (begin < a->rows);
  if (reduces && t->index == 0) *a->loss = (float)(loss / divisor);
}

static const ck_entry entries[] = {
#define CK_LINEAR_CROSS_ENTROPY(level, function) {level, 0, false, #function, function},
#include "linear_cross_entropy_kernels.inc"
#undef CK_LINEAR_CROSS_ENTROPY
};

const ck_entry *ck_linear_cross_entropy_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_linear_cross_entropy(void) { return entries[0].kernel; }

// MARK: Memory

size_t ck_linear_cross_entropy_workspace_bytes(const ck_linear_cross_entropy_args *args) {
  return logits_bytes(args) + sums_bytes(args);
}

size_t ck_linear_cross_entropy_scratch_bytes(const ck_linear_cross_entropy_args *args) {
  size_t most = 0;
  for (part p = LOGITS; p < PARTS; ++p) {
    const size_t bytes = most_of(args, p, ck_gemm_scratch_bytes);
    if (bytes > most) most = bytes;
  }
  return most;
}

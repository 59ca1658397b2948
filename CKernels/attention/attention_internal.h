// What attention's driver (attention.c, attention_forward.c, attention_backward.c) and the levels
// (attention_body.h) agree on.
//
// The products run on the register tiles of gemm/tile.h. A word is one f32, or, where `steps` is 2,
// two neighbouring bf16 along the products' inner dimension.
#ifndef ATTENTION_INTERNAL_H
#define ATTENTION_INTERNAL_H

#include <string.h>

#include "../gemm/tile.h"
#include "ck_attention.h"

enum {
  QUERIES = 64,     // of a block, at most
  KEYS = 128,       // of a block
  PANEL = 32,       // keys that lie side by side in a packed panel
  GROUP = 14,       // rows that share their limits, at most: a tile's
  ROW = KEYS + 16,  // words from row to row of a block of scores: an odd number of cache lines
  HALF_ROW = KEYS / 2 + 16,  // the same of pairs along the keys
};

/// Which keys of a block a query sees, and the wider range that products of its group make.
typedef struct attention_range {
  int32_t lo, hi;    // keys lo ..< hi of the block, less what the mask hides
  int32_t from, to;  // columns whose scores are made: whole panels
} attention_range;

/// A block of scores of `rows` queries by up to KEYS keys, rows ROW words apart.
typedef struct attention_block {
  float *scores;  // q · k; then p m: in place, unless `steps` is 2
  float *flows;   // backwards: flow · v; then ds
  // Where `steps` is 2, bf16: p m, and ds. Forwards rows of pairs along the keys, HALF_ROW words
  // apart; backwards, pairs along the queries, ROW words apart, and of ds the former as well.
  float *pairs, *flow_pairs, *flow_rows;
  const attention_range *ranges;  // a row each
  int32_t rows, columns;          // columns: of the block, not beyond the keys
  float scale;
  // Forwards: carried from block to block.
  float *greatest, *sums, *factors;  // factors: what the rows' outputs are to be multiplied by
  // Backwards.
  const float *logarithms, *delta;
  // What is added; NULL for nothing. `mask` is of row 0 and column 0.
  const void *mask;
  int64_t mask_query, mask_key;
  int32_t mask_dtype;
  bool has_slope, has_words;
  float slope;
  int64_t distance;  // j - i of row 0 and column 0
  // Dropout: the words of row 0 begin with this block of the generator's.
  const int64_t *random;
  int64_t stream;
  uint64_t first_word_block, row_word_blocks;
  float dropout;
} attention_block;

/// The vector parts and the products of a level.
typedef struct attention_level {
  int32_t steps;
  int32_t max_rows, columns;  // of a tile
  void (*tile)(const gemm_tile *);
  /// panel[p * stride + i] = source[i * across + p * along], of words, for i < width.
  void (*pack)(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
               int64_t across, int64_t along);
  /// Rows as f32, `to_row` words apart, with zeros up to there.
  void (*load)(float *to, int64_t to_row, const void *from, ck_dtype type, int64_t from_row,
               int64_t rows, int64_t width);
  /// Rows of f32, `row` words apart, as rows of pairs along the width, `to_row` words apart.
  void (*narrow)(float *to, int64_t to_row, const float *from, int64_t row, int64_t rows);
  /// Words of which each has row 2 r and row 2 r + 1 of rows of f32.
  void (*interleave)(float *to, int64_t to_row, const float *from, int64_t row, int64_t rows);
  /// to = from * factor, rounded to the type.
  void (*store)(void *to, ck_dtype type, int64_t to_row, const float *from, int64_t row,
                int64_t rows, int64_t width, float factor);
  /// to[i] += from[i], `count` words, a multiple of 16.
  void (*add)(float *to, const float *from, int64_t count);
  void (*forward)(const attention_block *);
  void (*backward)(const attention_block *);
  /// rows[i] *= factors[i], rows of `words` f32.
  void (*rescale)(float *rows, int64_t row, int64_t words, const float *factors, int32_t count);
  /// out[j] = q · row j, `count` rows `row` elements apart; q has zeros behind its width.
  void (*dots)(float *out, const float *q, const void *rows, ck_dtype type, int64_t row,
               int64_t count, int64_t width);
  /// to += Σ_j p[j] row j; `to` has zeros behind its width.
  void (*weigh)(float *to, const float *p, const void *rows, ck_dtype type, int64_t row,
                int64_t count, int64_t width);
  /// Of a row: greatest + log sum; 0 where sum is.
  void (*logarithms)(float *out, const float *greatest, const float *sums, int32_t count);
} attention_level;

/// How a call is cut, and sizes in words.
typedef struct attention_layout {
  int64_t wide, value_wide;             // the widths up to a multiple of 16
  int64_t steps, value_steps;           // words of the widths, for products along them
  int64_t query_blocks, block_queries;  // of equal size, even, but the last
  int64_t key_blocks, padded_keys, padded_queries;
  // Backwards: parts of a head's keys, each of `split_blocks` blocks at most. Where there are
  // several, the queries' gradients of each lie in the workspace until they are added.
  int64_t splits, split_blocks;
} attention_layout;

attention_layout attention_layout_of(const ck_attention_args *a, int32_t steps);

/// The forms that rows of an operand are brought into; NULL for none. All begin with the first row.
///
/// - `panels`: PANEL rows side by side, a word of each for each step along the width.
/// - `depth`: rows along which time is the products' inner dimension: as they are, or pairs of
/// rows.
/// - `rows`: rows of pairs along the width; of f32 `depth` serves.
typedef struct attention_forms {
  float *panels, *depth, *rows;
} attention_forms;

/// Brings rows begin ..< end of `time` rows (zeros beyond, whatever lies there), whole panels, into
/// their forms.
void attention_bring(const attention_level *l, const ck_attention_rows *x, int64_t b, int64_t head,
                     range rows, int64_t time, int64_t width, attention_forms to, float *scratch);
/// Words of scratch that it takes.
int64_t attention_bring_words(const attention_layout *w);

/// c (+)= A B over K words: `b` in panels of PANEL columns, `b_panel` words apart, rows `b_row`.
void attention_multiply(const attention_level *l, int64_t rows, int64_t columns, int64_t K,
                        const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                        int64_t b_panel, float *c, int64_t c_row, bool accumulate);

/// The keys of batch entry b that lengths allow; a length outside is noted, and cut.
int64_t attention_length(const ck_attention_args *a, int64_t b);

/// What queries `query` ..< `query + rows` see of keys `key` ..< `key + columns`, by groups.
/// Returns whether any sees any.
bool attention_ranges(const ck_attention_args *a, int64_t length, int64_t query, int32_t rows,
                      int64_t key, int32_t columns, attention_range *ranges);

/// The block's fields that follow from where it stands.
void attention_place(const ck_attention_args *a, attention_block *block, int64_t b, int64_t head,
                     int64_t query, int64_t key);

/// Row `time` of a batch entry and a head.
static inline const char *attention_row_at(const ck_attention_rows *x, int64_t b, int64_t head,
                                           int64_t time) {
  const int64_t at = b * x->batch + time * x->time + head * x->head;
  return (const char *)x->p + at * (x->dtype == CK_BF16 ? 2 : 4);
}

void attention_forward(const ck_attention_args *a, const ck_thread *t, const attention_level *l);
/// Writes what `rows` queries from `query` on have come to, rows of `words` f32 that are to be
/// divided by `sums`.
void attention_forward_end(const ck_attention_args *a, const attention_level *l, int64_t b,
                           int64_t head, int64_t query, int32_t rows, const float *greatest,
                           const float *sums, const float *output, int64_t words);
/// The same of up to CK_ATTENTION_FEW queries, by levels whose `steps` are 1.
void attention_few(const ck_attention_args *a, const ck_thread *t, const attention_level *l);
void attention_backward(const ck_attention_args *a, const ck_thread *t, const attention_level *l);

size_t attention_forward_scratch_bytes(const ck_attention_args *a);
size_t attention_few_scratch_bytes(const ck_attention_args *a);
size_t attention_backward_scratch_bytes(const ck_attention_args *a);
size_t attention_backward_workspace_bytes(const ck_attention_args *a);

static inline int64_t attention_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/// Groups of nearly equal numbers of rows.
static inline int32_t attention_groups(int32_t rows) { return (rows + GROUP - 1) / GROUP; }

#endif

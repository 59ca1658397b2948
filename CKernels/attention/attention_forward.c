// Attention forwards: each block of queries goes through the keys that it sees.
#include "attention_internal.h"

/// A thread's own memory, in words: a head's keys and values in their forms, and a block's.
typedef struct places {
  int64_t panels, depth, q, loaded, scores, pairs, output, ends;
} places;

static places places_of(const attention_layout *w) {
  places p = {0};
  p.depth = w->padded_keys * w->wide;
  p.q = p.depth + w->padded_keys * w->value_wide;
  p.loaded = p.q + QUERIES * w->wide;
  p.scores = p.loaded + greatest(QUERIES * w->wide, attention_bring_words(w));
  p.pairs = p.scores + QUERIES * ROW;
  p.output = p.pairs + QUERIES * HALF_ROW;
  p.ends = p.output + QUERIES * w->value_wide;
  return p;
}

size_t attention_forward_scratch_bytes(const ck_attention_args *a) {
  const attention_layout w = attention_layout_of(a, 1);
  return (size_t)places_of(&w).ends * sizeof(float);
}

/// The first and the last blocks of keys that any of these queries may see.
static range blocks_of(const ck_attention_args *a, int64_t length, int64_t query, int64_t rows) {
  int64_t lo = 0, hi = length;
  if (a->is_causal) hi = least(hi, query + rows);
  if (a->window > 0) {
    lo = greatest(lo, query - a->window + 1);
    if (!a->is_causal && a->window < a->keys) hi = least(hi, query + rows - 1 + a->window);
  }
  return (range){lo / KEYS, lo < hi ? ceiling(hi, KEYS) : lo / KEYS};
}

/// The i-th block of queries that is worked at: first and last in turns, so that any half of the
/// order has half of the work where later queries see more keys.
static int64_t turn(const ck_attention_args *a, int64_t blocks, int64_t i) {
  if (!a->is_causal) return i;
  return i % 2 == 0 ? i / 2 : blocks - 1 - i / 2;
}

/// A head's keys and values in their forms, as far as queries have wanted them.
typedef struct memory {
  int64_t matrix;  // batch and head of the keys; -1: none
  range blocks;    // of keys
  float *panels, *depth;
} memory;

static void remember(const ck_attention_args *a, const attention_level *l,
                     const attention_layout *w, memory *m, int64_t b, int64_t head, range blocks,
                     int64_t length, float *scratch) {
  const int64_t matrix = b * a->key_heads + head;
  if (m->matrix != matrix || blocks.begin < m->blocks.begin) {
    m->matrix = matrix;
    m->blocks = (range){blocks.begin, blocks.begin};
  }
  for (; m->blocks.end < blocks.end; m->blocks.end++) {
    const int64_t c = m->blocks.end;
    const range rows = {c * KEYS, least((c + 1) * KEYS, w->padded_keys)};
    const attention_forms k = {.panels = m->panels + rows.begin * w->steps};
    attention_bring(l, &a->k, b, head, rows, length, a->width, k, scratch);
    const attention_forms v = {.depth = m->depth + rows.begin / l->steps * w->value_wide};
    attention_bring(l, &a->v, b, head, rows, length, a->value_width, v, scratch);
  }
}

void attention_forward_end(const ck_attention_args *a, const attention_level *l, int64_t b,
                           int64_t head, int64_t query, int32_t rows, const float *greatest,
                           const float *sums, const float *output, int64_t words) {
  float logarithms[QUERIES];
  l->logarithms(logarithms, greatest, sums, rows);
  const size_t size = a->out_dtype == CK_BF16 ? 2 : 4;
  const double keep = a->random != NULL ? 1.0 - (double)a->dropout : 1.0;
  const float kept = keep > 0 ? (float)(1.0 / keep) : 0.0f;
  for (int32_t r = 0; r < rows; r++) {
    const int64_t place = (b * a->queries + query + r) * a->heads + head;
    a->logarithms[place] = logarithms[r];
    l->store((char *)a->out + (size_t)(place * a->value_width) * size, (ck_dtype)a->out_dtype, 0,
             output + r * words, 0, 1, a->value_width, sums[r] == 0 ? 0 : kept / sums[r]);
  }
}

void attention_forward(const ck_attention_args *a, const ck_thread *t, const attention_level *l) {
  const attention_layout w = attention_layout_of(a, l->steps);
  const places at = places_of(&w);
  float *scratch = t->scratch;
  float *q = scratch + at.q, *scores = scratch + at.scores, *output = scratch + at.output;
  memory known = {.matrix = -1, .panels = scratch, .depth = scratch + at.depth};
  float *pairs = scratch + at.pairs;
  float greatest_scores[QUERIES], sums[QUERIES], factors[QUERIES];
  attention_range ranges[QUERIES];
  const int64_t group = a->key_heads > 0 ? a->heads / a->key_heads : 1;
  int64_t item, end;
  ck_share(a->batch * a->heads * w.query_blocks, t, &item, &end);
  for (; item < end; item++) {
    const int64_t matrix = item / w.query_blocks, b = matrix / a->heads, head = matrix % a->heads;
    const int64_t query = turn(a, w.query_blocks, item % w.query_blocks) * w.block_queries;
    const int32_t rows = (int32_t)least(w.block_queries, a->queries - query);
    const int64_t length = attention_length(a, b);
    const range blocks = blocks_of(a, length, query, rows);
    remember(a, l, &w, &known, b, head / group, blocks, length, scratch + at.loaded);
    const float *panels = known.panels, *depth = known.depth;
    const char *from = attention_row_at(&a->q, b, head, query);
    float *loaded = l->steps == 1 ? q : scratch + at.loaded;
    int64_t q_row = w.wide;
    l->load(loaded, w.wide, from, (ck_dtype)a->q.dtype, a->q.time, rows, a->width);
    if (l->steps == 2) {
      q_row = w.wide / 2;
      l->narrow(q, q_row, loaded, w.wide, rows);
    }
    for (int32_t r = 0; r < rows; r++) greatest_scores[r] = -__builtin_inff(), sums[r] = 0;
    memset(output, 0, (size_t)(rows * w.value_wide) * sizeof(float));

    for (int64_t c = blocks.begin; c < blocks.end; c++) {
      const int64_t key = c * KEYS;
      const int32_t columns = (int32_t)least(KEYS, a->keys - key);
      if (!attention_ranges(a, length, query, rows, key, columns, ranges)) continue;
      const int32_t groups = attention_groups(rows);
      for (int32_t g = 0; g < groups; g++) {
        const int64_t first = tile_begin(rows, groups, g);
        const int64_t count = tile_begin(rows, groups, g + 1) - first;
        const int64_t begin = ranges[first].from, width = ranges[first].to - begin;
        if (width == 0) continue;
        attention_multiply(l, count, width, w.steps, q + first * q_row, q_row, 1,
                           panels + (key + begin) * w.steps, PANEL, PANEL * w.steps,
                           scores + first * ROW + begin, ROW, false);
      }
      attention_block block = {.scores = scores,
                               .pairs = pairs,
                               .ranges = ranges,
                               .rows = rows,
                               .columns = columns,
                               .greatest = greatest_scores,
                               .sums = sums,
                               .factors = factors};
      attention_place(a, &block, b, head, query, key);
      l->forward(&block);
      l->rescale(output, w.value_wide, w.value_wide, factors, rows);
      for (int32_t g = 0; g < groups; g++) {
        const int64_t first = tile_begin(rows, groups, g);
        const int64_t count = tile_begin(rows, groups, g + 1) - first;
        const int64_t begin = ranges[first].from / l->steps;
        const int64_t K = ranges[first].to / l->steps - begin;
        if (K == 0) continue;
        const int64_t row = l->steps == 1 ? ROW : HALF_ROW;
        attention_multiply(l, count, w.value_wide, K,
                           (l->steps == 1 ? scores : pairs) + first * row + begin, row, 1,
                           depth + (key / l->steps + begin) * w.value_wide, w.value_wide, PANEL,
                           output + first * w.value_wide, w.value_wide, true);
      }
    }
    attention_forward_end(a, l, b, head, query, rows, greatest_scores, sums, output, w.value_wide);
  }
}

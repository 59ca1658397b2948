// Attention backwards: each block of keys meets the queries that see it.
//
// A thread works at a head's keys, or a part of them (a split): a head of queries after the other,
// whose rows and their gradient stay in its scratch meanwhile, as do the gradients of keys and
// values. Where a head has several splits, the queries' gradients of each go to the workspace, and
// are added in the splits' order at the end. So nothing depends on the team.
#include "attention_internal.h"

/// A thread's own memory, in words: a head's queries and their flow in their forms, the gradient of
/// the queries, those of a split's keys and values; keys and values of a block; and a block's.
typedef struct places {
  int64_t q_depth, q_rows, flow_depth, flow_rows, dq, dk, dv;
  int64_t k_panels, k_depth, v_panels, brought;
  int64_t scores, flows, pairs, flow_pairs, flow_pair_rows, ends;
} places;

static places places_of(const attention_layout *w, int32_t steps) {
  places p = {0};
  // Of f32, rows are the same either way.
  const int64_t queries = w->padded_queries, keys = w->split_blocks * KEYS;
  p.q_rows = p.q_depth + queries / steps * w->wide;
  p.flow_depth = p.q_rows + (steps == 1 ? 0 : queries * w->wide / 2);
  p.flow_rows = p.flow_depth + queries / steps * w->value_wide;
  p.dq = p.flow_rows + (steps == 1 ? 0 : queries * w->value_wide / 2);
  if (steps == 1) p.q_rows = p.q_depth, p.flow_rows = p.flow_depth;
  p.dk = p.dq + queries * w->wide;
  p.dv = p.dk + keys * w->wide;
  p.k_panels = p.dv + keys * w->value_wide;
  p.k_depth = p.k_panels + KEYS * w->wide;
  p.v_panels = p.k_depth + KEYS * w->wide;
  p.brought = p.v_panels + KEYS * w->value_wide;
  p.scores = p.brought + attention_bring_words(w);
  p.flows = p.scores + QUERIES * ROW;
  p.pairs = p.flows + QUERIES * ROW;
  p.flow_pairs = p.pairs + QUERIES / 2 * ROW;
  p.flow_pair_rows = p.flow_pairs + QUERIES / 2 * ROW;
  p.ends = p.flow_pair_rows + QUERIES * HALF_ROW;
  return p;
}

size_t attention_backward_scratch_bytes(const ck_attention_args *a) {
  const attention_layout w = attention_layout_of(a, 1);
  return (size_t)greatest(places_of(&w, 1).ends, places_of(&w, 2).ends) * sizeof(float);
}

size_t attention_backward_workspace_bytes(const ck_attention_args *a) {
  const attention_layout w = attention_layout_of(a, 1);
  if (w.splits == 1) return 0;
  return (size_t)(a->batch * a->heads * w.splits * w.padded_queries * w.wide) * sizeof(float);
}

/// Whether block `c` of the keys belongs to split `s` of n: back and forth, so that splits have
/// about the same work where earlier keys are seen by more queries.
static bool is_of_split(int64_t c, int64_t s, int64_t n) {
  const int64_t round = c / n, place = c % n;
  return (round % 2 == 0 ? place : n - 1 - place) == s;
}

/// What one thread needs to know of a head's share.
typedef struct job {
  const ck_attention_args *a;
  const attention_level *l;
  const attention_layout *w;
  const places *at;
  float *scratch;
  int64_t b, head, length;
} job;

/// The queries of a block, beginning with an even one, that see keys `key` + j for j in a group;
/// from the block's first query on.
static range queries_of(const ck_attention_args *a, int64_t query, int32_t rows, int64_t key,
                        int64_t first, int64_t count) {
  int64_t lo = 0, hi = rows;
  if (a->is_causal) lo = greatest(lo, key + first - query);
  if (a->window > 0) {
    hi = least(hi, key + first + count - 1 + a->window - query);
    if (!a->is_causal && a->window < a->keys)
      lo = greatest(lo, key + first - a->window + 1 - query);
  }
  lo = least(lo, rows) / 2 * 2;
  return (range){lo, hi > lo ? attention_up(hi, 2) : lo};
}

/// One block of queries and one of keys, of which dk and dv are the gradients; adds to all three.
static void meet(const job *j, int64_t query, int64_t key, float *dq, float *dk, float *dv) {
  const ck_attention_args *a = j->a;
  const attention_level *l = j->l;
  const attention_layout *w = j->w;
  const int32_t rows = (int32_t)least(w->block_queries, a->queries - query);
  const int32_t columns = (int32_t)least(KEYS, a->keys - key);
  attention_range ranges[QUERIES];
  if (!attention_ranges(a, j->length, query, rows, key, columns, ranges)) return;
  const float *base = j->scratch;
  const int64_t steps = l->steps;
  const int64_t q_row = w->wide / steps, flow_row = w->value_wide / steps;
  const float *q_rows = base + j->at->q_rows + query * q_row;
  const float *flow_rows = base + j->at->flow_rows + query * flow_row;
  const float *q_depth = base + j->at->q_depth + query / steps * w->wide;
  const float *flow_depth = base + j->at->flow_depth + query / steps * w->value_wide;
  const float *k_panels = base + j->at->k_panels, *v_panels = base + j->at->v_panels;
  const float *k_depth = base + j->at->k_depth;
  float *scores = j->scratch + j->at->scores, *flows = j->scratch + j->at->flows;
  const int32_t groups = attention_groups(rows);
  for (int32_t g = 0; g < groups; g++) {
    const int64_t first = tile_begin(rows, groups, g);
    const int64_t count = tile_begin(rows, groups, g + 1) - first;
    const int64_t begin = ranges[first].from, width = ranges[first].to - begin;
    if (width == 0) continue;
    attention_multiply(l, count, width, w->steps, q_rows + first * q_row, q_row, 1,
                       k_panels + begin * w->steps, PANEL, PANEL * w->steps,
                       scores + first * ROW + begin, ROW, false);
    attention_multiply(l, count, width, w->value_steps, flow_rows + first * flow_row, flow_row, 1,
                       v_panels + begin * w->value_steps, PANEL, PANEL * w->value_steps,
                       flows + first * ROW + begin, ROW, false);
  }
  float logarithms[QUERIES], delta[QUERIES];
  for (int32_t r = 0; r < rows; r++) {
    const int64_t place = (j->b * a->queries + query + r) * a->heads + j->head;
    logarithms[r] = a->logarithms[place], delta[r] = a->delta[place];
  }
  attention_block block = {.scores = scores,
                           .flows = flows,
                           .pairs = j->scratch + j->at->pairs,
                           .flow_pairs = j->scratch + j->at->flow_pairs,
                           .flow_rows = j->scratch + j->at->flow_pair_rows,
                           .ranges = ranges,
                           .rows = rows,
                           .columns = columns,
                           .logarithms = logarithms,
                           .delta = delta};
  attention_place(a, &block, j->b, j->head, query, key);
  l->backward(&block);

  const float *p = steps == 1 ? scores : block.pairs, *ds = steps == 1 ? flows : block.flow_pairs;
  const int32_t key_groups = attention_groups(columns);
  for (int32_t g = 0; g < key_groups; g++) {
    const int64_t first = tile_begin(columns, key_groups, g);
    const int64_t count = tile_begin(columns, key_groups, g + 1) - first;
    const range seen = queries_of(a, query, rows, key, first, count);
    const int64_t begin = seen.begin / steps;
    // An odd number of queries ends with a row of zeros, which of f32 need not be there.
    const int64_t K = steps == 1 ? least(seen.end, rows) - seen.begin : length(seen) / 2;
    if (K <= 0) continue;
    attention_multiply(l, count, w->value_wide, K, p + begin * ROW + first, 1, ROW,
                       flow_depth + begin * w->value_wide, w->value_wide, PANEL,
                       dv + first * w->value_wide, w->value_wide, true);
    attention_multiply(l, count, w->wide, K, ds + begin * ROW + first, 1, ROW,
                       q_depth + begin * w->wide, w->wide, PANEL, dk + first * w->wide, w->wide,
                       true);
  }
  const float *ds_rows = steps == 1 ? flows : block.flow_rows;
  const int64_t ds_row = steps == 1 ? ROW : HALF_ROW;
  for (int32_t g = 0; g < groups; g++) {
    const int64_t first = tile_begin(rows, groups, g);
    const int64_t count = tile_begin(rows, groups, g + 1) - first;
    const int64_t begin = ranges[first].from / steps, K = ranges[first].to / steps - begin;
    if (K == 0) continue;
    attention_multiply(l, count, w->wide, K, ds_rows + first * ds_row + begin, ds_row, 1,
                       k_depth + begin * w->wide, w->wide, PANEL, dq + (query + first) * w->wide,
                       w->wide, true);
  }
}

/// A head's queries and their flow, and then each of a split's blocks of keys with them.
static void pass(job *j, int64_t key_head, int64_t split, float *dq) {
  const ck_attention_args *a = j->a;
  const attention_level *l = j->l;
  const attention_layout *w = j->w;
  float *s = j->scratch, *brought = s + j->at->brought;
  const range queries = {0, w->padded_queries};
  const attention_forms q = {.depth = s + j->at->q_depth,
                             .rows = l->steps == 1 ? NULL : s + j->at->q_rows};
  attention_bring(l, &a->q, j->b, j->head, queries, a->queries, a->width, q, brought);
  const attention_forms flow = {.depth = s + j->at->flow_depth,
                                .rows = l->steps == 1 ? NULL : s + j->at->flow_rows};
  attention_bring(l, &a->flow, j->b, j->head, queries, a->queries, a->value_width, flow, brought);
  memset(dq, 0, (size_t)(w->padded_queries * w->wide) * sizeof(float));
  for (int64_t c = 0, place = 0; c < w->key_blocks && c * KEYS < j->length; c++) {
    if (!is_of_split(c, split, w->splits)) continue;
    const range keys = {c * KEYS, least((c + 1) * KEYS, w->padded_keys)};
    const attention_forms k = {.panels = s + j->at->k_panels, .depth = s + j->at->k_depth};
    attention_bring(l, &a->k, j->b, key_head, keys, j->length, a->width, k, brought);
    const attention_forms v = {.panels = s + j->at->v_panels};
    attention_bring(l, &a->v, j->b, key_head, keys, j->length, a->value_width, v, brought);
    for (int64_t i = 0; i < w->query_blocks; i++) {
      meet(j, i * w->block_queries, c * KEYS, dq, s + j->at->dk + place * KEYS * w->wide,
           s + j->at->dv + place * KEYS * w->value_wide);
    }
    place++;
  }
}

static size_t bytes_of(int32_t dtype) { return dtype == CK_BF16 ? 2 : 4; }

/// Rows `query` and on of a head's gradient.
static void store_queries(const ck_attention_args *a, const attention_level *l,
                          const attention_layout *w, int64_t b, int64_t head, int64_t query,
                          int64_t rows, const float *dq) {
  const int64_t place = (b * a->queries + query) * a->heads + head;
  l->store((char *)a->dq + (size_t)(place * a->width) * bytes_of(a->dq_dtype),
           (ck_dtype)a->dq_dtype, a->heads * a->width, dq, w->wide, rows, a->width, a->scale);
}

/// A split of a head's keys: the gradients of its keys and values, and its part of the queries'.
static void work(const ck_attention_args *a, const ck_thread *t, const attention_level *l,
                 const attention_layout *w, const places *at, int64_t item) {
  const int64_t matrix = item / w->splits, split = item % w->splits;
  const int64_t group = a->heads / a->key_heads, key_head = matrix % a->key_heads;
  job j = {.a = a, .l = l, .w = w, .at = at, .scratch = t->scratch, .b = matrix / a->key_heads};
  j.length = attention_length(a, j.b);
  float *dk = j.scratch + at->dk, *dv = j.scratch + at->dv;
  memset(dk, 0, (size_t)(w->split_blocks * KEYS * w->wide) * sizeof(float));
  memset(dv, 0, (size_t)(w->split_blocks * KEYS * w->value_wide) * sizeof(float));
  const int64_t part = w->padded_queries * w->wide;
  for (int64_t h = 0; h < group; h++) {
    j.head = key_head * group + h;
    float *dq = w->splits == 1 ? j.scratch + at->dq
                               : (float *)a->workspace +
                                     ((j.b * a->heads + j.head) * w->splits + split) * part;
    pass(&j, key_head, split, dq);
    if (w->splits == 1) store_queries(a, l, w, j.b, j.head, 0, a->queries, dq);
  }
  for (int64_t c = 0, place = 0; c < w->key_blocks; c++) {
    if (!is_of_split(c, split, w->splits)) continue;
    const int64_t rows = least(KEYS, a->keys - c * KEYS);
    const int64_t to = (j.b * a->keys + c * KEYS) * a->key_heads + key_head;
    l->store((char *)a->dk + (size_t)(to * a->width) * bytes_of(a->dk_dtype), (ck_dtype)a->dk_dtype,
             a->key_heads * a->width, dk + place * KEYS * w->wide, w->wide, rows, a->width,
             a->scale);
    l->store((char *)a->dv + (size_t)(to * a->value_width) * bytes_of(a->dv_dtype),
             (ck_dtype)a->dv_dtype, a->key_heads * a->value_width,
             dv + place * KEYS * w->value_wide, w->value_wide, rows, a->value_width, 1);
    place++;
  }
}

/// The splits of some queries' gradients added up.
static void finish(const ck_attention_args *a, const attention_level *l, const attention_layout *w,
                   int64_t item) {
  const int64_t matrix = item / w->query_blocks;
  const int64_t query = item % w->query_blocks * w->block_queries;
  const int64_t rows = least(w->block_queries, a->queries - query);
  const int64_t part = w->padded_queries * w->wide;
  float *sum = (float *)a->workspace + matrix * w->splits * part + query * w->wide;
  for (int64_t s = 1; s < w->splits; s++) l->add(sum, sum + s * part, rows * w->wide);
  store_queries(a, l, w, matrix / a->heads, matrix % a->heads, query, rows, sum);
}

void attention_backward(const ck_attention_args *a, const ck_thread *t, const attention_level *l) {
  const attention_layout w = attention_layout_of(a, l->steps);
  const places at = places_of(&w, l->steps);
  int64_t item, end;
  ck_share(a->batch * a->key_heads * w.splits, t, &item, &end);
  for (; item < end; item++) work(a, t, l, &w, &at, item);
  if (w.splits == 1) return;
  ck_barrier(t);
  ck_share(a->batch * a->heads * w.query_blocks, t, &item, &end);
  for (; item < end; item++) finish(a, l, &w, item);
}

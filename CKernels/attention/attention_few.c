// Attention of few queries forwards, as when text is written token by token.
//
// Bringing keys and values into the forms of products costs more than a few queries' products: they
// are read once, where they lie. What is said of scores and of the softmax is that of blocks.
#include "attention_internal.h"

/// A thread's own memory, in words: a block's.
enum { PLACE_SCORES = 0, PLACE_ROWS = CK_ATTENTION_FEW * ROW };

size_t attention_few_scratch_bytes(const ck_attention_args *a) {
  const attention_layout w = attention_layout_of(a, 1);
  return (size_t)(PLACE_ROWS + CK_ATTENTION_FEW * (w.wide + w.value_wide)) * sizeof(float);
}

/// Row `key` of a batch entry's and head's, as bytes.
static const char *row_at(const ck_attention_rows *x, int64_t b, int64_t head, int64_t key) {
  return (const char *)x->p +
         (b * x->batch + key * x->time + head * x->head) * (x->dtype == CK_BF16 ? 2 : 4);
}

void attention_few(const ck_attention_args *a, const ck_thread *t, const attention_level *l) {
  const attention_layout w = attention_layout_of(a, 1);
  float *scores = (float *)t->scratch + PLACE_SCORES;
  float *q = (float *)t->scratch + PLACE_ROWS, *output = q + CK_ATTENTION_FEW * w.wide;
  float greatest_scores[QUERIES], sums[QUERIES], factors[QUERIES], logarithms[QUERIES];
  attention_range ranges[QUERIES];
  const int64_t group = a->key_heads > 0 ? a->heads / a->key_heads : 1;
  const int32_t rows = (int32_t)a->queries;
  const size_t size = a->out_dtype == CK_BF16 ? 2 : 4;
  int64_t item, end;
  ck_share(a->batch * a->heads, t, &item, &end);
  for (; item < end; item++) {
    const int64_t b = item / a->heads, head = item % a->heads, key_head = head / group;
    const int64_t length = attention_length(a, b);
    l->load(q, w.wide, row_at(&a->q, b, head, 0), (ck_dtype)a->q.dtype, a->q.time, rows, a->width);
    for (int32_t r = 0; r < rows; r++) greatest_scores[r] = -__builtin_inff(), sums[r] = 0;
    memset(output, 0, (size_t)(rows * w.value_wide) * sizeof(float));
    for (int64_t key = 0; key < length; key += KEYS) {
      const int32_t columns = (int32_t)least(KEYS, a->keys - key);
      if (!attention_ranges(a, length, 0, rows, key, columns, ranges)) continue;
      for (int32_t r = 0; r < rows; r++) {
        const attention_range seen = ranges[r];
        l->dots(scores + r * ROW + seen.lo, q + r * w.wide,
                row_at(&a->k, b, key_head, key + seen.lo), (ck_dtype)a->k.dtype, a->k.time,
                seen.hi - seen.lo, a->width);
      }
      attention_block block = {.scores = scores,
                               .ranges = ranges,
                               .rows = rows,
                               .columns = columns,
                               .greatest = greatest_scores,
                               .sums = sums,
                               .factors = factors};
      attention_place(a, &block, b, head, 0, key);
      l->forward(&block);
      l->rescale(output, w.value_wide, w.value_wide, factors, rows);
      for (int32_t r = 0; r < rows; r++) {
        const attention_range seen = ranges[r];
        l->weigh(output + r * w.value_wide, scores + r * ROW + seen.lo,
                 row_at(&a->v, b, key_head, key + seen.lo), (ck_dtype)a->v.dtype, a->v.time,
                 seen.hi - seen.lo, a->value_width);
      }
    }
    l->logarithms(logarithms, greatest_scores, sums, rows);
    const double keep = a->random != NULL ? 1.0 - (double)a->dropout : 1.0;
    for (int32_t r = 0; r < rows; r++) {
      const int64_t place = (b * a->queries + r) * a->heads + head;
      a->logarithms[place] = logarithms[r];
      const float kept = keep > 0 ? (float)(1.0 / keep) : 0.0f;
      l->store((char *)a->out + (size_t)(place * a->value_width) * size, (ck_dtype)a->out_dtype, 0,
               output + r * w.value_wide, 0, 1, a->value_width, sums[r] == 0 ? 0 : kept / sums[r]);
    }
  }
}

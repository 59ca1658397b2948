// Attention of few queries forwards, as when text is written token by token.
//
// Bringing keys and values into the forms of products costs more than a few queries' products: they
// are read once, where they lie. What is said of scores and of the softmax is that of blocks.
#include "attention_internal.h"

size_t attention_few_scratch_bytes(const ck_attention_args *a) {
  const attention_layout w = attention_layout_of(a, 1);
  return (size_t)(CK_ATTENTION_FEW * (ROW + w.wide + w.value_wide)) * sizeof(float);
}

void attention_few(const ck_attention_args *a, const ck_thread *t, const attention_level *l) {
  const attention_layout w = attention_layout_of(a, 1);
  float *scores = t->scratch, *q = scores + CK_ATTENTION_FEW * ROW;
  float *output = q + CK_ATTENTION_FEW * w.wide;
  float greatest_scores[QUERIES], sums[QUERIES], factors[QUERIES];
  attention_range ranges[QUERIES];
  const int64_t group = a->key_heads > 0 ? a->heads / a->key_heads : 1;
  const int32_t rows = (int32_t)a->queries;
  int64_t item, end;
  ck_share(a->batch * a->heads, t, &item, &end);
  for (; item < end; item++) {
    const int64_t b = item / a->heads, head = item % a->heads, key_head = head / group;
    const int64_t length = attention_length(a, b);
    l->load(q, w.wide, attention_row_at(&a->q, b, head, 0), (ck_dtype)a->q.dtype, a->q.time, rows,
            a->width);
    for (int32_t r = 0; r < rows; r++) greatest_scores[r] = -__builtin_inff(), sums[r] = 0;
    memset(output, 0, (size_t)(rows * w.value_wide) * sizeof(float));
    for (int64_t key = 0; key < length; key += KEYS) {
      const int32_t columns = (int32_t)least(KEYS, a->keys - key);
      if (!attention_ranges(a, length, 0, rows, key, columns, ranges)) continue;
      for (int32_t r = 0; r < rows; r++) {
        const attention_range seen = ranges[r];
        l->dots(scores + r * ROW + seen.lo, q + r * w.wide,
                attention_row_at(&a->k, b, key_head, key + seen.lo), (ck_dtype)a->k.dtype,
                a->k.time, seen.hi - seen.lo, a->width);
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
                 attention_row_at(&a->v, b, key_head, key + seen.lo), (ck_dtype)a->v.dtype,
                 a->v.time, seen.hi - seen.lo, a->value_width);
      }
    }
    attention_forward_end(a, l, b, head, 0, rows, greatest_scores, sums, output, w.value_wide);
  }
}

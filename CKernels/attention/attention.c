// Attention's table, sizes, and what both directions share: limits, products, operands' forms.
#include "../core/index.h"
#include "attention_internal.h"

#define CK_ATTENTION(level, operation, function, same_bits) \
  void function(const void *, const ck_thread *);
#include "attention_kernels.inc"
#undef CK_ATTENTION

static const ck_entry entries[] = {
#define CK_ATTENTION(level, operation, function, same_bits) \
  {level, CK_ATTENTION_##operation, same_bits, #function, function},
#include "attention_kernels.inc"
#undef CK_ATTENTION
};

const ck_entry *ck_attention_entries(size_t *count) {
  *count = sizeof entries / sizeof entries[0];
  return entries;
}

ck_kernel ck_attention(ck_attention_op op, ck_isa isa) {
  return ck_entry_find(entries, sizeof entries / sizeof entries[0], (int32_t)op, isa);
}

// MARK: Sizes

enum { SPLITS = 8, ITEMS = 8 };

attention_layout attention_layout_of(const ck_attention_args *a, int32_t steps) {
  attention_layout w = {0};
  w.wide = attention_up(a->width, 16);
  w.value_wide = attention_up(a->value_width, 16);
  w.steps = ceiling(a->width, steps);
  w.value_steps = ceiling(a->value_width, steps);
  w.query_blocks = ceiling(a->queries, QUERIES);
  w.block_queries = w.query_blocks > 0 ? attention_up(ceiling(a->queries, w.query_blocks), 2) : 0;
  w.key_blocks = ceiling(a->keys, KEYS);
  w.padded_keys = attention_up(a->keys, PANEL);
  w.padded_queries = attention_up(w.query_blocks * w.block_queries, PANEL);
  // Enough parts for a team, as far as there are keys: a function of the shape alone.
  const int64_t key_heads = a->batch * a->key_heads;
  w.splits = key_heads > 0 ? ceiling(ITEMS, key_heads) : 1;
  w.splits = least(greatest(least(w.splits, w.key_blocks), 1), SPLITS);
  w.split_blocks = ceiling(w.key_blocks, w.splits);
  return w;
}

static bool is_backward(ck_attention_op op) {
  return op == CK_ATTENTION_BACKWARD || op == CK_ATTENTION_BACKWARD_PAIRS;
}

size_t ck_attention_workspace_bytes(const ck_attention_args *args, ck_attention_op op) {
  return is_backward(op) ? attention_backward_workspace_bytes(args) : 0;
}

size_t ck_attention_scratch_bytes(const ck_attention_args *args, ck_attention_op op) {
  if (is_backward(op)) return attention_backward_scratch_bytes(args);
  if (op == CK_ATTENTION_FORWARD && args->queries <= CK_ATTENTION_FEW) {
    return attention_few_scratch_bytes(args);
  }
  return attention_forward_scratch_bytes(args);
}

// MARK: Products

void attention_multiply(const attention_level *l, int64_t rows, int64_t columns, int64_t K,
                        const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row,
                        int64_t b_panel, float *c, int64_t c_row, bool accumulate) {
  gemm_tile t = {.a_row = a_row,
                 .a_col = a_col,
                 .b_row = b_row,
                 .c_row = c_row,
                 .K = K,
                 .alpha = 1,
                 .accumulate = accumulate};
  for (int64_t j = 0; j < columns; j += l->columns) {
    t.b = b + j / PANEL * b_panel + j % PANEL;
    t.columns = (int32_t)least(columns - j, l->columns);
    const int64_t tiles = ceiling(rows, l->max_rows);
    for (int64_t i = 0; i < tiles; i++) {
      const int64_t begin = tile_begin(rows, tiles, i);
      t.rows = (int32_t)(tile_begin(rows, tiles, i + 1) - begin);
      t.a = a + begin * a_row;
      t.c = c + begin * c_row + j;
      l->tile(&t);
    }
  }
}

// MARK: What queries see

int64_t attention_length(const ck_attention_args *a, int64_t b) {
  if (a->lengths == NULL) return a->keys;
  const int64_t length = index_at(a->lengths, a->lengths_dtype, b);
  if (length >= 0 && length <= a->keys) return length;
  note_bad_index(a->error, b, length);
  return length < 0 ? 0 : a->keys;
}

bool attention_ranges(const ck_attention_args *a, int64_t length, int64_t query, int32_t rows,
                      int64_t key, int32_t columns, attention_range *ranges) {
  const int32_t groups = attention_groups(rows);
  bool any = false;
  for (int32_t g = 0; g < groups; g++) {
    const int32_t begin = (int32_t)tile_begin(rows, groups, g);
    const int32_t end = (int32_t)tile_begin(rows, groups, g + 1);
    int32_t least_lo = columns, most_hi = 0;
    for (int32_t r = begin; r < end; r++) {
      const int64_t i = query + r;
      int64_t lo = 0, hi = length;
      if (a->is_causal) hi = least(hi, i + 1);
      if (a->window > 0) {
        lo = greatest(lo, i - a->window + 1);
        if (!a->is_causal && a->window < a->keys) hi = least(hi, i + a->window);
      }
      lo = greatest(lo - key, 0), hi = least(hi - key, columns);
      if (lo >= hi) lo = hi = 0;
      ranges[r].lo = (int32_t)lo, ranges[r].hi = (int32_t)hi;
      if (lo < hi) {
        least_lo = least_lo < (int32_t)lo ? least_lo : (int32_t)lo;
        most_hi = most_hi > (int32_t)hi ? most_hi : (int32_t)hi;
      }
    }
    const bool sees = least_lo < most_hi;
    any |= sees;
    for (int32_t r = begin; r < end; r++) {
      ranges[r].from = sees ? least_lo / PANEL * PANEL : 0;
      ranges[r].to = sees ? (int32_t)attention_up(most_hi, PANEL) : 0;
    }
  }
  return any;
}

void attention_place(const ck_attention_args *a, attention_block *block, int64_t b, int64_t head,
                     int64_t query, int64_t key) {
  block->scale = a->scale;
  block->distance = key - query;
  block->has_slope = a->slopes != NULL;
  block->slope = a->slopes != NULL ? a->slopes[head] : 0;
  block->mask = NULL;
  if (a->mask != NULL) {
    const int64_t at =
        b * a->mask_batch + head * a->mask_head + query * a->mask_query + key * a->mask_key;
    block->mask = (const char *)a->mask + at * (a->mask_dtype == CK_BOOL ? 1 : 4);
    block->mask_query = a->mask_query, block->mask_key = a->mask_key;
    block->mask_dtype = a->mask_dtype;
  }
  block->has_words = a->random != NULL;
  if (block->has_words) {
    block->random = a->random, block->stream = a->stream, block->dropout = a->dropout;
    block->row_word_blocks = (uint64_t)(attention_up(a->keys, 32) / 4);
    block->first_word_block =
        (uint64_t)((b * a->heads + head) * a->queries + query) * block->row_word_blocks +
        (uint64_t)(key / 4);
  }
}

// MARK: The operands' forms

enum { BROUGHT = 64 };  // rows at a time: two panels

int64_t attention_bring_words(const attention_layout *w) {
  return BROUGHT * 2 * greatest(w->wide, w->value_wide);
}

void attention_bring(const attention_level *l, const ck_attention_rows *x, int64_t b, int64_t head,
                     range rows, int64_t time, int64_t width, attention_forms to, float *scratch) {
  const int64_t wide = attention_up(width, 16), half = wide / 2, steps = ceiling(width, l->steps);
  const ck_dtype type = (ck_dtype)x->dtype;
  for (int64_t begin = rows.begin; begin < rows.end; begin += BROUGHT) {
    const int64_t at = begin - rows.begin, room = least(rows.end - begin, BROUGHT);
    const int64_t count = greatest(least(time - begin, room), 0);
    const char *from = attention_row_at(x, b, head, begin);
    float *loaded = l->steps == 1 && to.depth != NULL ? to.depth + at * wide : scratch;
    l->load(loaded, wide, from, type, x->time, count, width);
    memset(loaded + count * wide, 0, (size_t)((room - count) * wide) * sizeof(float));
    const float *words = loaded;
    int64_t row = wide;
    if (l->steps == 2 && (to.rows != NULL || to.panels != NULL)) {
      float *narrow = to.rows != NULL ? to.rows + at * half : scratch + BROUGHT * wide;
      l->narrow(narrow, half, loaded, wide, room);
      words = narrow, row = half;
    }
    for (int64_t p = 0; p < room && to.panels != NULL; p += PANEL) {
      l->pack(to.panels + (at + p) * steps, PANEL, PANEL, steps, words + p * row, row, 1);
    }
    if (l->steps == 2 && to.depth != NULL) {
      l->interleave(to.depth + at / 2 * wide, wide, loaded, wide, room);
    }
  }
}

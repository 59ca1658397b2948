// Gradients of pooling, written once; pool_<level>.c compiles them for its level, after
// pool_body.h.
//
// Each element of x gathers what the places say whose windows hold it, in the order of the places,
// and is written once. Where channels are few and windows do not overlap, lanes are those of
// several elements in a row.

/// As many columns of an image are looked up rather than found out for each row.
#define POOL_COLUMNS 512
/// As many places are looked up rather than found out for each vector.
#define POOL_ENTRIES 64

/// A place whose window holds an element: its first channel in y, the step that meets the element,
/// and the number of steps that an average counts, or its inverse.
typedef struct pool_entry {
  int64_t from;
  int32_t tap;
  float share;
  int64_t count;
} pool_entry;

/// An image row while it is made.
typedef struct pool_image_row {
  pool_cover d, h;
  int64_t at_d, at_h;
  int64_t y;  // the first element of y's image
  bool one_divisor;
  float share;
  // The rows of places whose windows hold the row, where they are not too many.
  int64_t entries;
  pool_entry entry[POOL_ENTRIES];
} pool_image_row;

CK_INLINE int64_t pool_tap(const ck_pool_axis *axis, const pool_cover *cover, int64_t at, int64_t i,
                           bool adaptive) {
  return adaptive ? at - pool_start(axis, true, cover->first + i)
                  : cover->tap - i * cover->tap_step;
}

CK_INLINE float pool_share(int64_t count) { return 1 / pool_divisor(count); }

/// sum and what a place adds to it.
CK_INLINE ck_v16f pool_added(ck_pool_op op, const ck_pool_args *a, ck_v16f sum, int64_t from,
                             int32_t tap, float share, int count, ck_dtype type) {
  const ck_v16f v = load_lanes(a->in, from, count, type);
  if (op == CK_POOL_AVERAGE_GRADIENT) return ck_fma(v, ck_splat(share), sum);
  const ck_v16i index = pool_load_indices(a->indices, from, count, (ck_dtype)a->index_dtype);
  return ck_select(index == ck_splat_i32(tap), sum + v, sum);
}

/// What `count` channels from k on of an element gather from places of any number, found one by
/// one.
static __attribute__((noinline)) void pool_gather(ck_pool_op op, const ck_pool_args *a,
                                                  const pool_image_row *row, const pool_cover *w,
                                                  int64_t at_w, int64_t k, int count,
                                                  ck_v16f *sum) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  const bool counts_padding = a->counts_padding, adaptive = a->is_adaptive;
  *sum = ck_splat(0);
  for (int64_t i = 0; i < row->d.count; ++i) {
    const int64_t d = row->d.first + i * row->d.step;
    const int64_t d_tap = pool_tap(D, &row->d, row->at_d, i, adaptive) * H->size;
    for (int64_t j = 0; j < row->h.count; ++j) {
      const int64_t h = row->h.first + j * row->h.step;
      const int64_t h_tap = (d_tap + pool_tap(H, &row->h, row->at_h, j, adaptive)) * W->size;
      for (int64_t l = 0; l < w->count; ++l) {
        const int64_t o = w->first + l * w->step;
        const int64_t from = row->y + ((d * H->outputs + h) * W->outputs + o) * a->c + k;
        const int32_t tap = (int32_t)(h_tap + pool_tap(W, w, at_w, l, adaptive));
        const float share = row->one_divisor
                                ? row->share
                                : pool_share(pool_count(D, adaptive, counts_padding, d) *
                                             pool_count(H, adaptive, counts_padding, h) *
                                             pool_count(W, adaptive, counts_padding, o));
        *sum = a->in_dtype == CK_BF16 ? pool_added(op, a, *sum, from, tap, share, count, CK_BF16)
                                      : pool_added(op, a, *sum, from, tap, share, count, CK_F32);
      }
    }
  }
}

/// All channels of the element `out` from `n` places, a constant where there is code for it.
CK_INLINE void pool_gather_channels(ck_pool_op op, const ck_pool_args *a, const pool_entry *entry,
                                    int64_t n, int64_t out, bool streams, ck_dtype type) {
  const int64_t c = a->c;
  for (int64_t k = 0; k < c; k += CK_LANES) {
    if (k + CK_LANES > c) k = c - CK_LANES;
    ck_v16f sum = ck_splat(0);
    for (int64_t e = 0; e < n; ++e) {
      sum = pool_added(op, a, sum, entry[e].from + k, entry[e].tap, entry[e].share, CK_LANES, type);
    }
    pool_store(a, out + k, sum, CK_LANES, streams);
  }
}

CK_INLINE void pool_gather_element(ck_pool_op op, const ck_pool_args *a, const pool_entry *entry,
                                   int64_t n, int64_t out, bool streams, ck_dtype type) {
  if (a->c < CK_LANES) {
    ck_v16f sum = ck_splat(0);
    for (int64_t e = 0; e < n; ++e) {
      sum = pool_added(op, a, sum, entry[e].from, entry[e].tap, entry[e].share, (int)a->c, type);
    }
    pool_store(a, out, sum, (int)a->c, false);
  } else if (n == 2) {
    pool_gather_channels(op, a, entry, 2, out, streams, type);
  } else if (n == 4) {
    pool_gather_channels(op, a, entry, 4, out, streams, type);
  } else {
    pool_gather_channels(op, a, entry, n, out, streams, type);
  }
}

/// Columns [at, end) of a row, each by itself; `out` is the row's first element.
CK_INLINE void pool_columns(ck_pool_op op, const ck_pool_args *a, const pool_image_row *row,
                            const pool_cover *known, int64_t at, int64_t end, int64_t out,
                            bool streams, ck_dtype type) {
  const ck_pool_axis *W = &a->axes[2];
  const bool adaptive = a->is_adaptive;
  const bool is_simple = !adaptive && (row->one_divisor || op == CK_POOL_MAX_GRADIENT);
  const int64_t c = a->c;
  pool_entry entry[POOL_ENTRIES];
  for (; at < end; ++at) {
    const pool_cover w = known != NULL ? known[at] : pool_cover_of(W, adaptive, at);
    if (row->entries < 0 || row->entries * w.count > POOL_ENTRIES) {
      for (int64_t k = 0; k < c; k += CK_LANES) {
        if (k + CK_LANES > c && c > CK_LANES) k = c - CK_LANES;
        const int count = lanes_left(c - k);
        ck_v16f sum;
        pool_gather(op, a, row, &w, at, k, count, &sum);
        pool_store(a, out + at * c + k, sum, count, streams);
      }
      continue;
    }
    if (is_simple && row->entries * w.count == 1 && c >= CK_LANES) {
      entry[0].from = row->entry[0].from + w.first * c;
      entry[0].tap = row->entry[0].tap + (int32_t)w.tap;
      entry[0].share = row->share;
      pool_gather_channels(op, a, entry, 1, out + at * c, streams, type);
      continue;
    }
    int64_t n = 0;
    for (int64_t r = 0; r < row->entries; ++r) {
      for (int64_t l = 0; l < w.count; ++l, ++n) {
        const int64_t o = w.first + l * w.step;
        entry[n].from = row->entry[r].from + o * c;
        entry[n].tap = row->entry[r].tap + (int32_t)pool_tap(W, &w, at, l, adaptive);
        entry[n].share =
            row->one_divisor || op == CK_POOL_MAX_GRADIENT
                ? row->share
                : pool_share(row->entry[r].count * pool_count(W, adaptive, a->counts_padding, o));
      }
    }
    pool_gather_element(op, a, entry, n, out + at * c, streams, type);
  }
}

/// Elements of x that windows side by side hold, several windows together: lanes are those of
/// blocks of a stride, lane i element `source[i]` of places in a row and step `step[i]` of its
/// window.
typedef struct pool_blocks {
  int64_t together;
  ck_v16i source, step;
  ck_v16f share;
} pool_blocks;

CK_INLINE pool_blocks pool_blocks_of(const ck_pool_args *a, float share) {
  const ck_pool_axis *W = &a->axes[2];
  const int32_t c = (int32_t)a->c, block = (int32_t)(W->stride * c);
  int32_t source[CK_LANES], step[CK_LANES];
  for (int32_t i = 0; i < CK_LANES; ++i) {
    source[i] = i / block * c + i % c;
    // Where the window is smaller than the stride, nobody holds some elements.
    step[i] = i % block / c < W->size ? i % block / c : -1;
  }
  return (pool_blocks){CK_LANES / block, ck_load_i32(source), ck_load_i32(step), ck_splat(share)};
}

/// The blocks of places [o, o_end); `out` is the row's first element.
CK_INLINE void pool_packed_columns(ck_pool_op op, const ck_pool_args *a, const pool_image_row *row,
                                   const pool_blocks *blocks, int64_t o, int64_t o_end, int64_t out,
                                   ck_dtype type) {
  const ck_pool_axis *W = &a->axes[2];
  const int64_t c = a->c, together = blocks->together;
  const pool_entry *entry = &row->entry[0];
  const ck_v16i taps = blocks->step + ck_splat_i32(entry->tap), pattern = blocks->source;
  const ck_v16i is_held = blocks->step >= 0;
  for (; o < o_end; o += together) {
    const int64_t places = o_end - o < together ? o_end - o : together;
    const int64_t from = entry->from + o * c;
    const int read = lanes_left((W->outputs - o) * c), made = (int)(places * W->stride * c);
    const ck_v16f v = ck_pick(load_lanes(a->in, from, read, type), pattern);
    ck_v16f sum;
    if (op == CK_POOL_MAX_GRADIENT) {
      const ck_v16i index =
          ck_pick_i32(pool_load_indices(a->indices, from, read, (ck_dtype)a->index_dtype), pattern);
      sum = ck_select((index == taps) & is_held, ck_splat(0) + v, ck_splat(0));
    } else {
      sum = ck_select(is_held, ck_fma(v, blocks->share, ck_splat(0)), ck_splat(0));
    }
    const int64_t to = out + (o * W->stride - W->before) * c;
    // What is too much is written over by the next places, or by columns after them.
    const int room = lanes_left((W->image - o * W->stride + W->before) * c);
    pool_store(a, to, sum, room == CK_LANES ? CK_LANES : made, false);
  }
}

/// The same of channels that fill vectors, or one: each place's are read once.
CK_INLINE void pool_block_columns(ck_pool_op op, const ck_pool_args *a, const pool_image_row *row,
                                  int64_t o, int64_t o_end, int64_t out, bool streams,
                                  ck_dtype type) {
  const ck_pool_axis *W = &a->axes[2];
  const int64_t c = a->c;
  const pool_entry *entry = &row->entry[0];
  for (; o < o_end; ++o) {
    const int64_t to = out + (o * W->stride - W->before) * c;
    for (int64_t k = 0; k < c; k += CK_LANES) {
      if (k + CK_LANES > c && c > CK_LANES) k = c - CK_LANES;
      const int64_t from = entry->from + o * c + k;
      const int count = lanes_left(c - k);
      const ck_v16f v = load_lanes(a->in, from, count, type);
      const ck_v16f value = op == CK_POOL_MAX_GRADIENT
                                ? ck_splat(0) + v
                                : ck_fma(v, ck_splat(row->share), ck_splat(0));
      ck_v16i index = {0};
      if (op == CK_POOL_MAX_GRADIENT) {
        index = pool_load_indices(a->indices, from, count, (ck_dtype)a->index_dtype);
      }
      for (int64_t t = 0; t < W->stride; ++t) {
        ck_v16f sum = t < W->size ? value : ck_splat(0);
        if (op == CK_POOL_MAX_GRADIENT && t < W->size) {
          const ck_v16i tap = ck_splat_i32(entry->tap + (int32_t)t);
          sum = ck_select(index == tap, value, ck_splat(0));
        }
        pool_store(a, to + t * c + k, sum, count, streams);
      }
    }
  }
}

/// The rows of places that hold a row of the image.
CK_INLINE void pool_find_rows(const ck_pool_args *a, pool_image_row *row) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  const bool adaptive = a->is_adaptive, counts_padding = a->counts_padding;
  row->entries = row->d.count * row->h.count;
  if (row->entries > POOL_ENTRIES) {
    row->entries = -1;
    return;
  }
  pool_entry *entry = row->entry;
  for (int64_t i = 0; i < row->d.count; ++i) {
    const int64_t d = row->d.first + i * row->d.step;
    const int64_t tap = pool_tap(D, &row->d, row->at_d, i, adaptive) * H->size;
    for (int64_t j = 0; j < row->h.count; ++j, ++entry) {
      const int64_t h = row->h.first + j * row->h.step;
      entry->from = row->y + (d * H->outputs + h) * W->outputs * a->c;
      entry->tap = (int32_t)((tap + pool_tap(H, &row->h, row->at_h, j, adaptive)) * W->size);
      entry->count = row->one_divisor ? 1
                                      : pool_count(D, adaptive, counts_padding, d) *
                                            pool_count(H, adaptive, counts_padding, h);
    }
  }
}

// MARK: Few channels

/// Whether elements of y are handed out one by one rather than gathered.
static inline bool pool_scatters(const ck_pool_args *a) {
  return a->c < CK_LANES && !a->is_adaptive && a->in_dtype == CK_F32 && a->out_dtype == CK_F32 &&
         a->index_dtype == CK_U8;
}

/// Adds one place's channels to x where its window, or some rows of it, may lie outside.
static __attribute__((noinline)) void pool_scatter_checked(const ck_pool_args *a, int64_t row_start,
                                                           int64_t row_end, int64_t d0, int64_t h0,
                                                           int64_t w0, int64_t i) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  float *x = a->out;
  for (int64_t k = 0; k < a->c; ++k, ++i) {
    const int64_t tap = ((const uint8_t *)a->indices)[i];
    const int64_t d = d0 + tap / W->size / H->size * D->dilation;
    const int64_t h = h0 + tap / W->size % H->size * H->dilation;
    const int64_t w = w0 + tap % W->size * W->dilation;
    const int64_t row = d * H->image + h;
    if (tap >= D->size * H->size * W->size || d < 0 || d >= D->image || h < 0 || h >= H->image ||
        w < 0 || w >= W->image || row < row_start || row >= row_end) {
      continue;
    }
    x[(row * W->image + w) * a->c + k] += ((const float *)a->in)[i];
  }
}

/// Rows [u, u_end) of all images.
static void pool_scatter(const ck_pool_args *a, int64_t u, int64_t u_end) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  const int64_t c = a->c, image_rows = D->image * H->image, line = W->image * c;
  const int64_t reach_d = (D->size - 1) * D->dilation, reach_h = (H->size - 1) * H->dilation;
  const int64_t reach_w = (W->size - 1) * W->dilation;
  // By the number of a step: elements from the window's first one on; -1 for what is no step.
  int64_t offset[256];
  for (int64_t i = 0; i < 256; ++i) {
    const int64_t row =
        i / W->size / H->size * D->dilation * H->image + i / W->size % H->size * H->dilation;
    const bool is_step = i < D->size * H->size * W->size;
    offset[i] = is_step ? row * line + i % W->size * W->dilation * c : -1;
  }
  while (u < u_end) {
    const int64_t n = u / image_rows, left = (n + 1) * image_rows;
    const int64_t start = u - n * image_rows;
    const int64_t end = (u_end < left ? u_end : left) - n * image_rows;
    ck_pool_args image = *a;  // this one alone
    const int64_t first = n * D->outputs * H->outputs * W->outputs * c;
    image.out = (float *)a->out + n * image_rows * line;
    image.in = (const float *)a->in + first;
    image.indices = (uint8_t *)a->indices + first;
    float *x = image.out;
    const float *y = image.in;
    const uint8_t *index = image.indices;
    int64_t zeroed = start, i = 0;
    float nowhere = 0;
    for (int64_t row = 0; row < D->outputs * H->outputs; ++row, i += W->outputs * c) {
      const int64_t d = pool_start(D, false, row / H->outputs);
      const int64_t h = pool_start(H, false, row % H->outputs);
      // Rows from the first to the last that the window may have; all of them are made zeros first.
      const int64_t low = d * H->image + h, high = (d + reach_d) * H->image + h + reach_h + 1;
      if (high <= start || low >= end) continue;
      const int64_t zero = high < end ? high : end;
      if (zeroed < zero) {
        memset(x + zeroed * line, 0, (size_t)((zero - zeroed) * line) * sizeof(float));
        zeroed = zero;
      }
      const bool is_within = low >= start && high <= end && d >= 0 && h >= 0 &&
                             d + reach_d < D->image && h + reach_h < H->image;
      for (int64_t o = 0; o < W->outputs; ++o) {
        const int64_t w = pool_start(W, false, o);
        const int64_t j = i + o * c;
        if (!is_within || w < 0 || w + reach_w >= W->image) {
          pool_scatter_checked(&image, start, end, d, h, w, j);
          continue;
        }
        float *p = x + low * line + w * c;
        for (int64_t k = 0; k < c; ++k) {
          const int64_t at = offset[index[j + k]];
          float *to = at >= 0 ? p + at + k : &nowhere;
          *to += y[j + k];
        }
      }
    }
    memset(x + zeroed * line, 0, (size_t)((end - zeroed) * line) * sizeof(float));
    u = end + n * image_rows;
  }
}

CK_INLINE void pool_gradient(ck_pool_op op, const ck_pool_args *a, const ck_thread *t,
                             ck_dtype type) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  const bool adaptive = a->is_adaptive;
  const int64_t rows = a->n * D->image * H->image, size = (int64_t)ck_dtype_bytes(a->out_dtype);
  int64_t u, u_end;
  ck_share(rows, t, &u, &u_end);
  if (op == CK_POOL_MAX_GRADIENT && type == CK_F32 && pool_scatters(a)) {
    pool_scatter(a, u, u_end);
    return;
  }
  const bool streams = ck_streams_rows(a->out, rows * W->image, a->c, size);
  pool_image_row row;
  float divisor;
  row.one_divisor = pool_has_one_divisor(a, &divisor);
  row.share = 1 / divisor;
  pool_cover columns[POOL_COLUMNS];
  const pool_cover *known = W->image <= POOL_COLUMNS ? columns : NULL;
  for (int64_t w = 0; known != NULL && w < W->image; ++w) {
    columns[w] = pool_cover_of(W, adaptive, w);
  }
  // Places whose blocks of a stride lie within the image, where several are taken at a time.
  int64_t first = 0, last = 0;
  if (W->size <= W->stride && W->dilation == 1 && !adaptive &&
      (row.one_divisor || op == CK_POOL_MAX_GRADIENT)) {
    first = (W->before + W->stride - 1) / W->stride;
    last = (W->image + W->before) / W->stride;
    if (last > W->outputs) last = W->outputs;
    if (first > last) first = last;
  }
  const bool is_packed = W->stride * a->c <= CK_LANES;
  pool_blocks blocks = {0};
  if (first < last && is_packed) blocks = pool_blocks_of(a, row.share);
  const int64_t from = first < last ? first * W->stride - W->before : 0;
  const int64_t to = first < last ? last * W->stride - W->before : 0;
  row.at_h = u % H->image;
  row.at_d = u / H->image % D->image;
  row.d = pool_cover_of(D, adaptive, row.at_d);
  const int64_t places = D->outputs * H->outputs * W->outputs * a->c;
  row.y = u / H->image / D->image * places;
  for (; u < u_end; ++u) {
    row.h = pool_cover_of(H, adaptive, row.at_h);
    pool_find_rows(a, &row);
    const int64_t out = u * W->image * a->c;
    const bool packs = first < last && row.entries == 1;
    for (int part = 0; part < 3; ++part) {
      if (part == 1 && packs) {
        if (is_packed) {
          pool_packed_columns(op, a, &row, &blocks, first, last, out, type);
        } else {
          pool_block_columns(op, a, &row, first, last, out, streams, type);
        }
        continue;
      }
      const int64_t start = part == 0 ? 0 : part == 1 ? from : to;
      const int64_t end = part == 0 ? from : part == 1 ? to : W->image;
      if (start < end) pool_columns(op, a, &row, known, start, end, out, streams, type);
    }
    if (++row.at_h < H->image) continue;
    row.at_h = 0;
    if (++row.at_d == D->image) row.at_d = 0, row.y += places;
    row.d = pool_cover_of(D, adaptive, row.at_d);
  }
  if (streams) ck_stream_end();
}

void CK_NAME(ck_max_pool_gradient)(const void *args, const ck_thread *t) {
  POOL_WITH_TYPE(pool_gradient, CK_POOL_MAX_GRADIENT, args, t);
}
void CK_NAME(ck_average_pool_gradient)(const void *args, const ck_thread *t) {
  POOL_WITH_TYPE(pool_gradient, CK_POOL_AVERAGE_GRADIENT, args, t);
}

// Gradients of pooling, written once; pool_<level>.c compiles them for its level, after
// pool_body.h.
//
// Each element of x gathers what the places say whose windows hold it, in the order of the places,
// and is written once. Where channels are few, elements of y are handed out one by one instead.

/// As many columns of an image are looked up rather than computed for each row.
#define POOL_COLUMNS 512

/// An image row while it is made.
typedef struct pool_image_row {
  pool_cover d, h;
  int64_t at_d, at_h, at_w;
  int64_t y;  // the first element of y's image
  bool one_divisor;
  float share;  // 1 / divisor
} pool_image_row;

CK_INLINE int64_t pool_tap(const ck_pool_axis *axis, const pool_cover *cover, int64_t at, int64_t i,
                           bool adaptive) {
  return adaptive ? at - pool_start(axis, true, cover->first + i)
                  : cover->tap - i * cover->tap_step;
}

/// What 16 or `count` channels from k on of an element gather.
CK_INLINE ck_v16f pool_gathered(ck_pool_op op, const ck_pool_args *a, const pool_image_row *row,
                                const pool_cover *w, int64_t k, int count, bool adaptive,
                                ck_dtype type) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  const bool counts_padding = a->counts_padding;
  ck_v16f sum = ck_splat(0);
  for (int64_t i = 0; i < row->d.count; ++i) {
    const int64_t d = row->d.first + i * row->d.step;
    const int64_t d_tap = pool_tap(D, &row->d, row->at_d, i, adaptive) * H->size;
    for (int64_t j = 0; j < row->h.count; ++j) {
      const int64_t h = row->h.first + j * row->h.step;
      const int64_t h_tap = (d_tap + pool_tap(H, &row->h, row->at_h, j, adaptive)) * W->size;
      const int64_t place = row->y + ((d * H->outputs + h) * W->outputs + w->first) * a->c + k;
      for (int64_t l = 0; l < w->count; ++l) {
        const int64_t from = place + l * w->step * a->c;
        const ck_v16f v = load_lanes(a->in, from, count, type);
        if (op == CK_POOL_MAX_GRADIENT) {
          const int64_t tap = h_tap + pool_tap(W, w, row->at_w, l, adaptive);
          const ck_v16i index =
              pool_load_indices(a->indices, from, count, (ck_dtype)a->index_dtype);
          sum = ck_select(index == ck_splat_i32((int32_t)tap), sum + v, sum);
        } else {
          float share = row->share;
          if (!row->one_divisor) {
            share =
                1 / pool_divisor(pool_count(D, adaptive, counts_padding, d) *
                                 pool_count(H, adaptive, counts_padding, h) *
                                 pool_count(W, adaptive, counts_padding, w->first + l * w->step));
          }
          sum = ck_fma(v, ck_splat(share), sum);
        }
      }
    }
  }
  return sum;
}

/// Channels of the element `out`, which lies in the window of one place alone, at step `tap`.
CK_INLINE void pool_from_one(ck_pool_op op, const ck_pool_args *a, int64_t place, int64_t tap,
                             int64_t out, float share, bool streams, ck_dtype type) {
  const ck_dtype index_type = (ck_dtype)a->index_dtype;
  const ck_v16i number = ck_splat_i32((int32_t)tap);
  const int64_t c = a->c;
  for (int64_t k = 0; k < c; k += CK_LANES) {
    if (k + CK_LANES > c && c > CK_LANES) k = c - CK_LANES;
    const int count = lanes_left(c - k);
    ck_v16f v = load_lanes(a->in, place + k, count, type);
    if (op == CK_POOL_MAX_GRADIENT) {
      const ck_v16i index = pool_load_indices(a->indices, place + k, count, index_type);
      v = ck_select(index == number, ck_splat(0) + v, ck_splat(0));
    } else {
      v = ck_fma(v, ck_splat(share), ck_splat(0));
    }
    pool_store(a, out + k, v, count, streams);
  }
}

CK_INLINE void pool_from_many(ck_pool_op op, const ck_pool_args *a, const pool_image_row *row,
                              const pool_cover *w, int64_t out, bool streams, ck_dtype type) {
  const int64_t c = a->c;
  for (int64_t k = 0; k < c; k += CK_LANES) {
    if (k + CK_LANES > c && c > CK_LANES) k = c - CK_LANES;
    const int count = lanes_left(c - k);
    const ck_v16f v = a->is_adaptive ? pool_gathered(op, a, row, w, k, count, true, type)
                                     : pool_gathered(op, a, row, w, k, count, false, type);
    pool_store(a, out + k, v, count, streams);
  }
}

CK_INLINE void pool_gradient_rows(ck_pool_op op, const ck_pool_args *a, int64_t u, int64_t u_end,
                                  bool streams, ck_dtype type) {
  const ck_pool_axis *D = &a->axes[0], *H = &a->axes[1], *W = &a->axes[2];
  const bool adaptive = a->is_adaptive;
  pool_image_row row = {.share = 0};
  float divisor;
  row.one_divisor = pool_has_one_divisor(a, &divisor);
  row.share = 1 / divisor;
  pool_cover columns[POOL_COLUMNS];
  const bool is_known = W->image <= POOL_COLUMNS;
  for (int64_t w = 0; is_known && w < W->image; ++w) columns[w] = pool_cover_of(W, adaptive, w);
  for (; u < u_end; ++u) {
    row.at_h = u % H->image;
    row.at_d = u / H->image % D->image;
    const int64_t n = u / H->image / D->image;
    row.d = pool_cover_of(D, adaptive, row.at_d);
    row.h = pool_cover_of(H, adaptive, row.at_h);
    row.y = n * D->outputs * H->outputs * W->outputs * a->c;
    const bool is_one = row.d.count == 1 && row.h.count == 1 && !adaptive && row.one_divisor;
    const int64_t place = row.y + (row.d.first * H->outputs + row.h.first) * W->outputs * a->c;
    const int64_t tap = (row.d.tap * H->size + row.h.tap) * W->size;
    for (int64_t w = 0; w < W->image; ++w) {
      const pool_cover cover = is_known ? columns[w] : pool_cover_of(W, adaptive, w);
      const int64_t out = (u * W->image + w) * a->c;
      if (is_one && cover.count == 1) {
        pool_from_one(op, a, place + cover.first * a->c, tap + cover.tap, out, row.share, streams,
                      type);
      } else {
        row.at_w = w;
        pool_from_many(op, a, &row, &cover, out, streams, type);
      }
    }
  }
  if (streams) ck_stream_end();
}

CK_INLINE void pool_gradient(ck_pool_op op, const ck_pool_args *a, const ck_thread *t,
                             ck_dtype type) {
  const int64_t rows = a->n * a->axes[0].image * a->axes[1].image;
  int64_t u, u_end;
  ck_share(rows, t, &u, &u_end);
  const int64_t size = (int64_t)ck_dtype_bytes((ck_dtype)a->out_dtype);
  const bool streams = ck_streams_rows(a->out, rows * a->axes[2].image, a->c, size);
  pool_gradient_rows(op, a, u, u_end, streams, type);
}

void CK_NAME(ck_max_pool_gradient)(const void *args, const ck_thread *t) {
  POOL_WITH_TYPE(pool_gradient, CK_POOL_MAX_GRADIENT, args, t);
}
void CK_NAME(ck_average_pool_gradient)(const void *args, const ck_thread *t) {
  POOL_WITH_TYPE(pool_gradient, CK_POOL_AVERAGE_GRADIENT, args, t);
}

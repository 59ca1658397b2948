// Rows of f32 or bf16 as f32 lanes.
//
// Element types are parameters that every caller gives as constants, so that each combination is
// compiled by itself: a bf16 is widened by its load and rounded by its store, nothing else differs.
#ifndef CK_CORE_ROWS_H
#define CK_CORE_ROWS_H

CK_INLINE int lanes_left(int64_t n) { return n < CK_LANES ? (int)n : CK_LANES; }

/// Row `row` of rows that start `stride` elements apart.
CK_INLINE const void *row_of(const void *p, int64_t row, int64_t stride, ck_dtype type) {
  return (const char *)p + row * stride * (int64_t)ck_dtype_bytes(type);
}

// A row's end, out of line: it is rare, and bodies compiled for many types would be mostly it.
static __attribute__((noinline, unused)) void load_end(ck_v16f *v, const void *p, int count,
                                                       ck_dtype type) {
  *v = type == CK_BF16 ? ck_load_as_f32_n(p, CK_BF16, count) : ck_load_n(p, count);
}
static __attribute__((noinline, unused)) void store_end(void *p, const ck_v16f *v, int count,
                                                        ck_dtype type) {
  if (type == CK_BF16) {
    ck_store_as_n(p, CK_BF16, *v, count);
  } else {
    ck_store_n(p, *v, count);
  }
}

/// `count` elements from `i` on; zeros in the other lanes.
CK_INLINE ck_v16f load_lanes(const void *row, int64_t i, int count, ck_dtype type) {
  const char *p = (const char *)row + i * (int64_t)ck_dtype_bytes(type);
  if (count == CK_LANES) return ck_load_as_f32(p, type);
  ck_v16f v;
  load_end(&v, p, count, type);
  return v;
}

/// Rounded where `type` is bf16. With `streams` there are 16, and they go past the cache.
CK_INLINE void store_lanes(void *row, int64_t i, ck_v16f v, int count, ck_dtype type,
                           bool streams) {
  char *p = (char *)row + i * (int64_t)ck_dtype_bytes(type);
  if (streams && type == CK_BF16) {
    ck_stream_u16(p, ck_to_bf16(v));
  } else if (streams) {
    ck_stream(p, v);
  } else if (count == CK_LANES) {
    ck_store_as(p, type, v);
  } else {
    store_end(p, &v, count, type);
  }
}

// The same with types that are no constants, for what is done rarely.
CK_INLINE ck_v16f load_any(const void *row, int64_t i, int count, ck_dtype type) {
  if (type == CK_BF16) return load_lanes(row, i, count, CK_BF16);
  return load_lanes(row, i, count, CK_F32);
}
CK_INLINE void store_any(void *row, int64_t i, ck_v16f v, int count, ck_dtype type) {
  if (type == CK_BF16) {
    store_lanes(row, i, v, count, CK_BF16, false);
  } else {
    store_lanes(row, i, v, count, CK_F32, false);
  }
}

#endif

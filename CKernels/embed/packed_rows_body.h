// Sequences of their own lengths as rows one behind the other, and back, written once;
// embed_<level>.c compiles it for its level, behind gather_body.h, which casts rows.
#include <string.h>

typedef struct row_place {
  int64_t step, row;
} row_place;

/// Where the rows of a step begin, or (`rest`) those that it lacks of the batch, both counted
/// through all steps.
CK_INLINE int64_t first_of_step(const ck_packed_rows_args *a, int64_t step, bool rest) {
  const int64_t all = a->steps * a->batch;
  const int64_t at = a->offsets[step] < 0 ? 0 : a->offsets[step] < all ? a->offsets[step] : all;
  if (!rest) return at;
  return step * a->batch < at ? 0 : step * a->batch - at;
}

/// The step of the row at `index`, counted so, not before `place.step`.
CK_INLINE row_place place_of(const ck_packed_rows_args *a, row_place place, int64_t index,
                             bool rest) {
  while (place.step + 1 < a->steps && first_of_step(a, place.step + 1, rest) <= index) ++place.step;
  place.row = index - first_of_step(a, place.step, rest);
  if (rest) place.row += first_of_step(a, place.step + 1, false) - first_of_step(a, place.step, 0);
  return place;
}

/// The place of a row in the padded array, in rows, or -1.
CK_INLINE int64_t padded_row(const ck_packed_rows_args *a, row_place place) {
  if (place.row < 0 || place.row >= a->batch) return -1;
  const int64_t at = a->order ? index_at(a->order, a->order_dtype, place.row) : place.row;
  if (at < 0 || at >= a->batch) return -1;
  return at * a->sequence_stride + place.step * a->step_stride;
}

CK_INLINE void move_row(const ck_packed_rows_args *a, int64_t to, int64_t from) {
  const int64_t d_size = (int64_t)ck_dtype_bytes((ck_dtype)a->dst_type);
  const int64_t s_size = (int64_t)ck_dtype_bytes((ck_dtype)a->src_type);
  char *d = (char *)a->dst + to * a->width * d_size;
  const char *s = (const char *)a->src + from * a->width * s_size;
  if (a->src_type == a->dst_type) {
    memcpy(d, s, (size_t)(a->width * d_size));
  } else if (a->dst_type == CK_BF16) {
    cast_run(d, CK_BF16, s, CK_F32, a->width);
  } else {
    cast_run(d, CK_F32, s, CK_BF16, a->width);
  }
}

CK_INLINE void clear_row(const ck_packed_rows_args *a, int64_t to) {
  const int64_t size = a->width * (int64_t)ck_dtype_bytes((ck_dtype)a->dst_type);
  memset((char *)a->dst + to * size, 0, (size_t)size);
}

void CK_NAME(ck_packed_rows)(const void *args, const ck_thread *t) {
  const ck_packed_rows_args *a = args;
  if (a->steps == 0 || a->batch == 0) return;
  const int64_t live = first_of_step(a, a->steps, false);
  int64_t begin, end;
  ck_share(live, t, &begin, &end);
  row_place place = {0, 0};
  for (int64_t row = begin; row < end; ++row) {
    place = place_of(a, place, row, false);
    const int64_t padded = padded_row(a, place);
    if (padded >= 0) {
      move_row(a, a->unpacks ? padded : row, a->unpacks ? row : padded);
    } else if (!a->unpacks) {
      clear_row(a, row);
    }
  }
  // What is left are zeros: the rows behind, or the steps behind each sequence's end.
  ck_share(a->steps * a->batch - live, t, &begin, &end);
  place = (row_place){0, 0};
  for (int64_t rest = begin; rest < end; ++rest) {
    if (!a->unpacks) {
      clear_row(a, live + rest);
      continue;
    }
    place = place_of(a, place, rest, true);
    const int64_t padded = padded_row(a, place);
    if (padded >= 0) clear_row(a, padded);
  }
}

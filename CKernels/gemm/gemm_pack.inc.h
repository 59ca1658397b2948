// Packing of a panel, written once and compiled at each level: eight-float vectors everywhere,
// because an 8x8 transpose in registers needs the fewest shuffles an element.

typedef float v8 __attribute__((ext_vector_type(8)));
typedef float v8_unaligned __attribute__((ext_vector_type(8), aligned(4)));
typedef float v4 __attribute__((ext_vector_type(4)));
typedef float v4_unaligned __attribute__((ext_vector_type(4), aligned(4)));

static inline __attribute__((always_inline)) vec load(const float *p) {
  return *(const vec_unaligned *)p;
}

static inline __attribute__((always_inline)) void store(float *p, vec x) {
  *(vec_unaligned *)p = x;
}

static inline __attribute__((always_inline)) v8 halves(const float *low, const float *high) {
  const v4 l = *(const v4_unaligned *)low, h = *(const v4_unaligned *)high;
  return __builtin_shufflevector(l, h, 0, 1, 2, 3, 4, 5, 6, 7);
}

/// out[p * stride + i] = in[i][at + p] for i, p < 8. The halves of the rows are joined while
/// loading, which leaves two rounds of shuffles within 128-bit lanes.
static inline __attribute__((always_inline)) void transpose8(float *out, int64_t stride,
                                                             const float *const in[8], int64_t at) {
#pragma clang loop unroll(full)
  for (int h = 0; h < 8; h += 4) {
    const v8 r0 = halves(in[0] + at + h, in[4] + at + h);
    const v8 r1 = halves(in[1] + at + h, in[5] + at + h);
    const v8 r2 = halves(in[2] + at + h, in[6] + at + h);
    const v8 r3 = halves(in[3] + at + h, in[7] + at + h);
    const v8 a = __builtin_shufflevector(r0, r1, 0, 8, 1, 9, 4, 12, 5, 13);
    const v8 b = __builtin_shufflevector(r2, r3, 0, 8, 1, 9, 4, 12, 5, 13);
    const v8 c = __builtin_shufflevector(r0, r1, 2, 10, 3, 11, 6, 14, 7, 15);
    const v8 d = __builtin_shufflevector(r2, r3, 2, 10, 3, 11, 6, 14, 7, 15);
    *(v8_unaligned *)(out + (h + 0) * stride) =
        __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
    *(v8_unaligned *)(out + (h + 1) * stride) =
        __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    *(v8_unaligned *)(out + (h + 2) * stride) =
        __builtin_shufflevector(c, d, 0, 1, 8, 9, 4, 5, 12, 13);
    *(v8_unaligned *)(out + (h + 3) * stride) =
        __builtin_shufflevector(c, d, 2, 3, 10, 11, 6, 7, 14, 15);
  }
}

/// K >= 8. Lanes from `width` up repeat the last row. Where eights do not fit into `stride` they
/// fall on the start of the next step, which is written after them: hence the order of i and p, and
/// up to seven floats of slack behind the panel.
static void pack_transposed(float *panel, int64_t stride, int64_t width, int64_t K,
                            const float *source, int64_t across) {
  const int64_t block = 128;  // steps, so that the rows of one block stay in L1 for all lanes
  for (int64_t begin = 0; begin < K; begin += block) {
    const int64_t end = begin + block < K ? begin + block : K;
    if (stride % 8 == 0) {
      for (int64_t i = 0; i < stride; i += 8) {
        const float *in[8];
        for (int64_t l = 0; l < 8; l++)
          in[l] = source + (i + l < width ? i + l : width - 1) * across;
        for (int64_t p = begin; p < end; p += 8) {
          const int64_t at = p + 8 <= K ? p : K - 8;
          transpose8(panel + at * stride + i, stride, in, at);
        }
      }
    } else {
      for (int64_t p = begin; p < end; p += 8) {
        const int64_t at = p + 8 <= K ? p : K - 8;
        for (int64_t i = (width - 1) & ~(int64_t)7; i >= 0; i -= 8) {
          const float *in[8];
          for (int64_t l = 0; l < 8; l++)
            in[l] = source + (i + l < width ? i + l : width - 1) * across;
          transpose8(panel + at * stride + i, stride, in, at);
        }
      }
    }
  }
}

/// Panels of less than a vector, as of A: each step is written as a whole vector, of which the next
/// ones overwrite what lies beyond it; nothing is written behind the last.
static void pack_narrow_rows(float *panel, int64_t width, int64_t K, const float *source,
                             int64_t along) {
  const int count = (int)width;
  int64_t p = 0;
  for (; (K - p) * width >= VECTOR; p++) {
    __builtin_prefetch(source + (p + 16) * along, 0, 2);
    store(panel + p * width, load_part(source + p * along, count));
  }
  for (; p < K; p++) store_part(panel + p * width, load_part(source + p * along, count), count);
}

static void pack_rows(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
                      int64_t along) {
  for (int64_t p = 0; p < K; p++) {
    const float *in = source + p * along;
    float *out = panel + p * stride;
    __builtin_prefetch(in + 8 * along);
    if (width == 32) {
      __builtin_prefetch(in + 8 * along + 16);
#pragma clang loop unroll(full)
      for (int i = 0; i < 32; i += VECTOR) store(out + i, load(in + i));
    } else if (stride % VECTOR == 0) {
      int64_t i = 0;
      for (; i + VECTOR <= width; i += VECTOR) store(out + i, load(in + i));
      if (i < stride) store(out + i, load_part(in + i, (int)(width - i)));
    } else if (width >= 8) {
      for (int64_t i = 0; i < width - 8; i += 8)
        *(v8_unaligned *)(out + i) = *(const v8_unaligned *)(in + i);
      *(v8_unaligned *)(out + width - 8) = *(const v8_unaligned *)(in + width - 8);
    } else {
      for (int64_t i = 0; i < width; i++) out[i] = in[i];
    }
  }
}

static void pack_panel(float *panel, int64_t stride, int64_t width, int64_t K, const float *source,
                       int64_t across, int64_t along) {
  if (across == 1 && stride == width && width < VECTOR) {
    pack_narrow_rows(panel, width, K, source, along);
  } else if (across == 1) {
    pack_rows(panel, stride, width, K, source, along);
  } else if (along == 1 && K >= 8) {
    pack_transposed(panel, stride, width, K, source, across);
  } else {
    for (int64_t p = 0; p < K; p++) {
      for (int64_t i = 0; i < width; i++) panel[p * stride + i] = source[i * across + p * along];
      for (int64_t i = width; i < stride; i++) panel[p * stride + i] = 0.0f;
    }
  }
}

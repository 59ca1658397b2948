// Packing and rounding of narrow operands, written once and compiled at each level. The including
// file defines STEPS (of K in a word: 1 or 2), `to_bf16` and PACK_WORDS, the level's packing of
// words.

enum { STAGED_WORDS = 128, STAGED_LANES = 64 };

static inline __attribute__((always_inline)) size_t bytes_of(ck_dtype type) {
  return type == CK_F32 ? 4 : 2;
}

static inline __attribute__((always_inline)) void store_rounded(void *p, ck_dtype type, ck_v16f x,
                                                                int count) {
  const ck_v16h half = type == CK_BF16 ? to_bf16(x) : ck_to_f16(x);
  if (count >= 16) {
    ck_store_u16(p, half);
  } else {
    ck_store_u16_n(p, half, count);
  }
}

static inline __attribute__((always_inline)) ck_v16f load_widened(const void *p, ck_dtype type,
                                                                  int count) {
  return count >= 16 ? ck_load_as_f32(p, type) : ck_load_as_f32_n(p, type, count);
}

// MARK: Packing

/// `count` elements in their order: as f32 (STEPS 1) or bf16 (STEPS 2, a last odd one beside zero).
static inline __attribute__((always_inline)) void convert(float *words, const char *source,
                                                          ck_dtype type, int64_t count) {
  for (int64_t i = 0; i < count; i += 16) {
    const int n = count - i < 16 ? (int)(count - i) : 16;
    const void *at = source + i * (int64_t)bytes_of(type);
#if STEPS == 1
    ck_store(words + i, load_widened(at, type, n));
#else
    const ck_v16h half = type == CK_BF16 ? (n < 16 ? ck_load_u16_n(at, n) : ck_load_u16(at))
                                         : to_bf16(load_widened(at, type, n));
    ck_store_u16(words + i / 2, half);
#endif
  }
}

static void convert_rows(float *words, int64_t row, const void *source, ck_dtype type,
                         int64_t source_row, int64_t rows, int64_t count) {
  const int64_t step = source_row * (int64_t)bytes_of(type);
  for (int64_t i = 0; i < rows; i++)
    convert(words + i * row, (const char *)source + i * step, type, count);
}

/// K runs through neighbouring elements: rows are converted a piece at a time and transposed.
static inline __attribute__((always_inline)) void pack_along(float *panel, int64_t stride,
                                                             int64_t width, int64_t K,
                                                             const char *source, ck_dtype type,
                                                             int64_t across) {
#if STEPS == 2
  // Rows of pairs as they are.
  if (type == CK_BF16 && K % 2 == 0 && across % 2 == 0 && (uintptr_t)source % 4 == 0)
    return PACK_WORDS(panel, stride, width, K / 2, (const float *)source, across / 2, 1);
#endif
  float staged[STAGED_LANES * STAGED_WORDS] __attribute__((aligned(64)));
  for (int64_t begin = 0; begin < K; begin += STAGED_WORDS * STEPS) {
    const int64_t count = K - begin < STAGED_WORDS * STEPS ? K - begin : STAGED_WORDS * STEPS;
    for (int64_t i = 0; i < width; i++)
      convert(staged + i * STAGED_WORDS, source + (i * across + begin) * (int64_t)bytes_of(type),
              type, count);
    PACK_WORDS(panel + begin / STEPS * stride, stride, width, (count + STEPS - 1) / STEPS, staged,
               STAGED_WORDS, 1);
  }
}

/// Lanes run through neighbouring elements: each word row is one or two rows of the source.
static inline __attribute__((always_inline)) void pack_across(float *panel, int64_t stride,
                                                              int64_t width, int64_t K,
                                                              const char *source, ck_dtype type,
                                                              int64_t along) {
  const int64_t step = along * (int64_t)bytes_of(type);
  for (int64_t p = 0; p < K; p += STEPS) {
    const char *in = source + p * step;
    float *out = panel + p / STEPS * stride;
    __builtin_prefetch(in + 8 * step);
#if STEPS == 2
    __builtin_prefetch(in + 9 * step);
#endif
    for (int64_t i = 0; i < width; i += 16) {
      const int n = width - i < 16 ? (int)(width - i) : 16;
      const char *at = in + i * (int64_t)bytes_of(type);
#if STEPS == 1
      const ck_v16f words = load_widened(at, type, n);
#else
      ck_v16u low, high = 0;
      if (type == CK_BF16) {
        low = __builtin_convertvector(n < 16 ? ck_load_u16_n(at, n) : ck_load_u16(at), ck_v16u);
        if (p + 1 < K)
          high = __builtin_convertvector(
              n < 16 ? ck_load_u16_n(at + step, n) : ck_load_u16(at + step), ck_v16u);
      } else {
        low = __builtin_convertvector(to_bf16(load_widened(at, type, n)), ck_v16u);
        if (p + 1 < K)
          high = __builtin_convertvector(to_bf16(load_widened(at + step, type, n)), ck_v16u);
      }
      const ck_v16f words = (ck_v16f)(low | high << 16);
#endif
      if (i + 16 <= stride) {
        ck_store(out + i, words);
      } else {
        ck_store_n(out + i, words, (int)(stride - i));
      }
    }
  }
}

/// Neighbours on neither side: an element at a time.
static inline __attribute__((always_inline)) void pack_scattered(float *panel, int64_t stride,
                                                                 int64_t width, int64_t K,
                                                                 const char *source, ck_dtype type,
                                                                 int64_t across, int64_t along) {
  const int64_t size = (int64_t)bytes_of(type);
  for (int64_t p = 0; p < K; p += STEPS) {
    for (int64_t i = 0; i < width; i++) {
      const char *at = source + (i * across + p * along) * size;
#if STEPS == 1
      ck_store_n(panel + p * stride + i, ck_load_as_f32_n(at, type, 1), 1);
#else
      const ck_v16f low = ck_load_as_f32_n(at, type, 1);
      ck_v16f high = ck_splat(0.0f);
      if (p + 1 < K) high = ck_load_as_f32_n(at + along * size, type, 1);
      const uint32_t word = to_bf16(low)[0] | (uint32_t)to_bf16(high)[0] << 16;
      memcpy(panel + p / 2 * stride + i, &word, sizeof word);
#endif
    }
  }
}

static inline __attribute__((always_inline)) void pack_typed(float *panel, int64_t stride,
                                                             int64_t width, int64_t K,
                                                             const void *source, ck_dtype type,
                                                             int64_t across, int64_t along) {
  if (across == 1) {
    pack_across(panel, stride, width, K, source, type, along);
  } else if (along == 1) {
    pack_along(panel, stride, width, K, source, type, across);
  } else {
    pack_scattered(panel, stride, width, K, source, type, across, along);
  }
}

static void pack_narrow(float *panel, int64_t stride, int64_t width, int64_t K, const void *source,
                        ck_dtype type, int64_t across, int64_t along) {
  if (type == CK_BF16) {
    pack_typed(panel, stride, width, K, source, CK_BF16, across, along);
  } else if (type == CK_F16) {
    pack_typed(panel, stride, width, K, source, CK_F16, across, along);
  } else {
    pack_typed(panel, stride, width, K, source, CK_F32, across, along);
  }
}

// MARK: C

static void widen_block(float *block, int64_t row, const void *c, ck_dtype type, int64_t c_row,
                        int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j += 16) {
      const int n = columns - j < 16 ? (int)(columns - j) : 16;
      const char *at = (const char *)c + (i * c_row + j) * (int64_t)bytes_of(type);
      ck_store_n(block + i * row + j, load_widened(at, type, n), n);
    }
}

static void round_block(void *c, ck_dtype type, int64_t c_row, const float *block, int64_t row,
                        int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j += 16) {
      const int n = columns - j < 16 ? (int)(columns - j) : 16;
      store_rounded((char *)c + (i * c_row + j) * 2, type,
                    load_widened(block + i * row + j, CK_F32, n), n);
    }
}

static void round_in_place(float *block, ck_dtype type, int64_t row, int64_t rows,
                           int64_t columns) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j += 16) {
      const int n = columns - j < 16 ? (int)(columns - j) : 16;
      const ck_v16f x = load_widened(block + i * row + j, CK_F32, n);
      const ck_v16f rounded =
          type == CK_BF16 ? ck_from_bf16(to_bf16(x)) : ck_from_f16(ck_to_f16(x));
      ck_store_n(block + i * row + j, rounded, n);
    }
}

// Examples that are kept as bytes, such as the pixels of images, as floats: what prepares a batch.
//
// The examples of a batch lie anywhere in their array. Reading them is waiting for memory, so the
// next ones are asked for while one is converted; results that are large go past the cache.
#ifndef CK_PIXELS_H
#define CK_PIXELS_H

#include "ck_entry.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ck_pixels_op {
  CK_PIXELS_UNIT = 0,    // b / 255, the very float that the division gives
  CK_PIXELS_NORMAL = 1,  // (b / 255 - mean) / deviation, each operation rounded
} ck_pixels_op;

/// out[k, i] = scaled(bytes[rows[k], i]), for k < count and i < size.
///
/// The array may be as large as memory: a row begins at rows[k] · size bytes. `out` and `bytes` lie
/// anywhere. Threads share rows.
typedef struct ck_pixels_args {
  float *out;            // [count, size]
  const uint8_t *bytes;  // [rows, size]
  const int64_t *rows;   // [count], or NULL for 0, 1, 2, …
  int64_t count;
  int64_t size;
  float mean, deviation;  // CK_PIXELS_NORMAL only
} ck_pixels_args;

/// The entry point of `op` at `isa`.
ck_kernel ck_pixels(ck_pixels_op op, ck_isa isa);
/// Every implementation, best first.
const ck_entry *ck_pixels_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif

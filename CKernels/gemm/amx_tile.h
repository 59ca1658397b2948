// The tile instructions that the products use, behind one thin layer with two implementations: the
// AMX intrinsics, and with AMX_EMULATED defined the same in vectors, bit for bit, so that packing,
// edges, splitting and thread shares are tested on machines without AMX.
//
// Tiles are 16 rows of 64 bytes. Numbers of tiles are literals, 0 to 7.
#ifndef AMX_TILE_H
#define AMX_TILE_H

#if AMX_EMULATED

typedef struct amx_tiles {
  ck_v16u row[8][16];
} amx_tiles;

#define AMX_TILES amx_tiles tiles
#define AMX_CONFIGURE() ((void)0)
#define AMX_RELEASE() ((void)0)
#define AMX_ZERO(n) memset(&tiles.row[n], 0, sizeof tiles.row[n])
#define AMX_LOAD(n, p) amx_load(&tiles, n, p)
#define AMX_LOAD_ONCE(n, p) amx_load(&tiles, n, p)
#define AMX_STORE(n, p, bytes) amx_store(&tiles, n, p, bytes)
#define AMX_PRODUCT(c, a, b) amx_product(&tiles, c, a, b)

static inline void amx_load(amx_tiles *tiles, int n, const void *p) {
  memcpy(tiles->row[n], p, sizeof tiles->row[n]);
}

static inline void amx_store(const amx_tiles *tiles, int n, void *p, int64_t bytes) {
  for (int m = 0; m < 16; m++) memcpy((char *)p + m * bytes, &tiles->row[n][m], 64);
}

/// Denormals as zero, of the same sign: on the way in and on the way out, whatever MXCSR says.
static inline ck_v16f amx_flushed(ck_v16u bits) {
  return (ck_v16f)((bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

static inline ck_v16f amx_multiply_add(ck_v16f a, ck_v16f b, ck_v16f sum) {
  return amx_flushed((ck_v16u)ck_fma(a, b, sum));
}

/// TDPBF16PS as Intel's manual words it: of each row of A, the even and the odd elements' products
/// are summed by themselves in ascending order from zero, then to each other, then to C.
static void amx_product(amx_tiles *tiles, int c, int a, int b) {
  for (int m = 0; m < 16; m++) {
    ck_v16f even = ck_splat(0.0f), odd = ck_splat(0.0f);
    for (int k = 0; k < 16; k++) {
      const ck_v16u pair = (ck_v16u)tiles->row[a][m][k], row = tiles->row[b][k];
      even = amx_multiply_add(amx_flushed(pair << 16), amx_flushed(row << 16), even);
      odd = amx_multiply_add(amx_flushed(pair & 0xffff0000u), amx_flushed(row & 0xffff0000u), odd);
    }
    const ck_v16f sum = amx_flushed((ck_v16u)(even + odd));
    const ck_v16f total = amx_flushed(tiles->row[c][m]) + sum;
    tiles->row[c][m] = (ck_v16u)amx_flushed((ck_v16u)total);
  }
}

#else

// The configuration: palette 1, eight tiles of 16 rows of 64 bytes.
typedef struct amx_configuration {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} amx_configuration;

static inline void amx_configure(void) {
  const amx_configuration configuration = {
      .palette = 1,
      .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
      .rows = {16, 16, 16, 16, 16, 16, 16, 16},
  };
  _tile_loadconfig(&configuration);
}

#define AMX_TILES ((void)0)
#define AMX_CONFIGURE() amx_configure()
#define AMX_RELEASE() _tile_release()
#define AMX_ZERO(n) _tile_zero(n)
#define AMX_LOAD(n, p) _tile_loadd(n, p, 64)
/// Data that is not soon used again.
#define AMX_LOAD_ONCE(n, p) _tile_stream_loadd(n, p, 64)
#define AMX_STORE(n, p, bytes) _tile_stored(n, p, bytes)
#define AMX_PRODUCT(c, a, b) _tile_dpbf16ps(c, a, b)

#endif
#endif

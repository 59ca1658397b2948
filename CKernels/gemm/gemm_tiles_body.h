// The kernel of 32 x 32 sums in four tiles, written once over amx_tile.h.
//
// Tiles 0 to 3 are C, 4 and 5 A's, 6 and 7 B's; one product of parts is four tile products. The
// parts' products are summed from the small to the large: over all of the block those with a low
// part, then those of the high parts alone. So the f32 sums round at full size only as often as
// those of a plain bf16 product.
#include "amx_tile.h"

#define LOAD_A(part)                                \
  do {                                              \
    AMX_LOAD(4, a + (part)*TILE_STEP_BYTES);        \
    AMX_LOAD(5, a + (part)*TILE_STEP_BYTES + 1024); \
  } while (0)
#define LOAD_B(part)                                \
  do {                                              \
    AMX_LOAD(6, b + (part)*TILE_STEP_BYTES);        \
    AMX_LOAD(7, b + (part)*TILE_STEP_BYTES + 1024); \
  } while (0)
#define MULTIPLY()        \
  do {                    \
    AMX_PRODUCT(0, 4, 6); \
    AMX_PRODUCT(1, 4, 7); \
    AMX_PRODUCT(2, 5, 6); \
    AMX_PRODUCT(3, 5, 7); \
  } while (0)

static void multiply(float *strip, const void *a_panel, const void *b_panel, int64_t steps,
                     int32_t parts) {
  AMX_TILES;
  AMX_ZERO(0);
  AMX_ZERO(1);
  AMX_ZERO(2);
  AMX_ZERO(3);
  const int64_t advance = parts * TILE_STEP_BYTES;
  const char *a = a_panel, *b = b_panel;
  if (parts == 3) {
    for (int64_t s = 0; s < steps; s++, a += advance, b += advance) {
      LOAD_A(2);
      LOAD_B(0);
      MULTIPLY();
      LOAD_A(1);
      MULTIPLY();
      LOAD_B(1);
      MULTIPLY();
      LOAD_A(0);
      MULTIPLY();
      LOAD_B(2);
      MULTIPLY();
    }
  } else if (parts == 2) {
    for (int64_t s = 0; s < steps; s++, a += advance, b += advance) {
      LOAD_A(1);
      LOAD_B(0);
      MULTIPLY();
      LOAD_A(0);
      LOAD_B(1);
      MULTIPLY();
    }
  }
  a = a_panel, b = b_panel;
  for (int64_t s = 0; s < steps; s++, a += advance, b += advance) {
    AMX_LOAD_ONCE(4, a);
    AMX_LOAD(6, b);
    AMX_PRODUCT(0, 4, 6);
    AMX_LOAD_ONCE(5, a + 1024);
    AMX_PRODUCT(2, 5, 6);
    AMX_LOAD(7, b + 1024);
    AMX_PRODUCT(1, 4, 7);
    AMX_PRODUCT(3, 5, 7);
  }
  AMX_STORE(0, strip, 128);
  AMX_STORE(1, strip + 16, 128);
  AMX_STORE(2, strip + 16 * 32, 128);
  AMX_STORE(3, strip + 16 * 32 + 16, 128);
}

static void enter(void) { AMX_CONFIGURE(); }
static void leave(void) { AMX_RELEASE(); }

// PNG and JPEG files decoded by libpng and libjpeg, for callers that must not be jumped over.
//
// Both libraries leave a failure by longjmp. Here it lands within the same C function, and what
// comes out is a code and a message. A file is looked at first (ic_png_header, ic_jpeg_header): the
// caller judges its size and gives the memory, and no pixel is decoded into any other.

#ifndef IMAGE_CODECS_H
#define IMAGE_CODECS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// How a file was left.
enum {
  ic_ok = 0,
  /// The bytes do not follow the format.
  ic_invalid = 1,
  /// They follow it, but are not served.
  ic_unsupported = 2,
  /// The decoder asked for more memory than it may have.
  ic_memory = 3,
};

/// What a file says of its image.
typedef struct {
  uint32_t width;
  uint32_t height;
  /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha: of 8 bits each, as decoding with alpha gives
  /// them.
  uint32_t channels;
} ic_header;

/// What is wrong, in the library's words.
typedef struct {
  char text[160];
} ic_message;

/// Reads what stands before the pixels of a PNG file. `memory`: bytes the decoder may take.
int ic_png_header(const uint8_t *bytes, size_t count, size_t memory, ic_header *header,
                  ic_message *message);

/// Decodes a PNG file to `size` bytes, row by row: height x width x channels, without alpha unless
/// `alpha` is not 0.
///
/// Palettes become RGB, 1, 2, 4 and 16 bits become 8. Another size than the image has is
/// ic_invalid. `memory`: bytes the decoder may take besides.
int ic_png_decode(const uint8_t *bytes, size_t count, size_t memory, int alpha, uint8_t *pixels,
                  size_t size, ic_message *message);

/// Reads what stands before the pixels of a JPEG file.
int ic_jpeg_header(const uint8_t *bytes, size_t count, size_t memory, ic_header *header,
                   ic_message *message);

/// Decodes a JPEG file to `size` bytes, row by row: height x width x channels, 1 or 3.
///
/// A file that ends early, or whose codes are damaged, is ic_invalid, though libjpeg would fill up
/// with grey. So is one of more than 500 scans, which would take hours.
int ic_jpeg_decode(const uint8_t *bytes, size_t count, size_t memory, uint8_t *pixels, size_t size,
                   ic_message *message);

#ifdef __cplusplus
}
#endif

#endif

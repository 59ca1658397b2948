// PNG by libpng: ISO/IEC 15948. Its memory is counted, and its jumps end here.

#include <malloc.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image_codecs.h"

// One file being read.
typedef struct {
  const uint8_t *bytes;
  size_t count;
  size_t at;
  // What may still be allocated.
  size_t memory;
  int code;
  ic_message *message;
} reader;

static png_voidp allocate(png_structp png, png_alloc_size_t size) {
  reader *self = png_get_mem_ptr(png);
  if (size > self->memory) {
    self->code = ic_memory;
    return NULL;
  }
  void *memory = malloc(size);
  if (memory == NULL) {
    self->code = ic_memory;
    return NULL;
  }
  const size_t taken = malloc_usable_size(memory);
  self->memory -= taken < self->memory ? taken : self->memory;
  return memory;
}

static void release(png_structp png, png_voidp memory) {
  reader *self = png_get_mem_ptr(png);
  self->memory += malloc_usable_size(memory);
  free(memory);
}

static void on_error(png_structp png, png_const_charp text) {
  reader *self = png_get_error_ptr(png);
  if (self->code == ic_ok) self->code = ic_invalid;
  snprintf(self->message->text, sizeof self->message->text, "%s", text);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static void take(png_structp png, png_bytep target, size_t count) {
  reader *self = png_get_io_ptr(png);
  if (count > self->count - self->at) png_error(png, "the file ends early");
  memcpy(target, self->bytes + self->at, count);
  self->at += count;
}

// A decoder at the start of the bytes; NULL where there is no memory.
static png_structp start(reader *self, png_infop *info) {
  png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, self, on_error, on_warning,
                                             self, allocate, release);
  if (png == NULL) return NULL;
  *info = png_create_info_struct(png);
  if (*info == NULL) {
    png_destroy_read_struct(&png, NULL, NULL);
    return NULL;
  }
  return png;
}

// Reads what stands before the pixels and says what shall become of them. May jump.
static void prepare(png_structp png, png_infop info, reader *self, int alpha, ic_header *header) {
  png_set_read_fn(png, self, take);
  // The caller judges sizes; what is absurd ends here.
  png_set_user_limits(png, 1u << 24, 1u << 24);
  // Texts, profiles and times are none of the image: they are skipped, and take no memory.
  static const png_byte wanted[] = {116, 82, 78, 83, 0};  // tRNS
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, wanted, 1);
  png_read_info(png, info);
  const int color = png_get_color_type(png, info);
  const int is_transparent = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
  const int has_alpha = (color & PNG_COLOR_MASK_ALPHA) != 0;
  if (color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (color == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png);
  png_set_scale_16(png);
  if (alpha && is_transparent) png_set_tRNS_to_alpha(png);
  if (!alpha) png_set_strip_alpha(png);
  header->width = png_get_image_width(png, info);
  header->height = png_get_image_height(png, info);
  header->channels =
      (color & PNG_COLOR_MASK_COLOR ? 3 : 1) + (alpha && (has_alpha || is_transparent));
}

int ic_png_header(const uint8_t *bytes, size_t count, size_t memory, ic_header *header,
                  ic_message *message) {
  reader self = {bytes, count, 0, memory, ic_ok, message};
  png_infop info = NULL;
  png_structp png = start(&self, &info);
  if (png == NULL) return ic_memory;
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, NULL);
    return self.code;
  }
  prepare(png, info, &self, 1, header);
  png_destroy_read_struct(&png, &info, NULL);
  return ic_ok;
}

int ic_png_decode(const uint8_t *bytes, size_t count, size_t memory, int alpha, uint8_t *pixels,
                  size_t size, ic_message *message) {
  reader self = {bytes, count, 0, memory, ic_ok, message};
  png_infop info = NULL;
  png_structp png = start(&self, &info);
  if (png == NULL) return ic_memory;
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, NULL);
    return self.code;
  }
  ic_header header;
  prepare(png, info, &self, alpha, &header);
  // An interlaced image comes in seven passes over the same rows.
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  const size_t pitch = png_get_rowbytes(png, info);
  if (pitch != (size_t)header.width * header.channels) png_error(png, "the rows have another size");
  if (size != pitch * header.height) png_error(png, "the image has another size than was given");
  for (int pass = 0; pass < passes; ++pass) {
    for (uint32_t row = 0; row < header.height; ++row) {
      png_read_row(png, pixels + row * pitch, NULL);
    }
  }
  png_read_end(png, NULL);
  png_destroy_read_struct(&png, &info, NULL);
  return ic_ok;
}

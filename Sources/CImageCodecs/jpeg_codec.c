// JPEG by libjpeg (libjpeg-turbo): ITU-T T.81. Its jumps end here, and what it would only warn of
// is an error.

#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
//
#include <jerror.h>
#include <jpeglib.h>

#include "image_codecs.h"

// What libjpeg is handed for its errors.
typedef struct {
  struct jpeg_error_mgr base;
  jmp_buf jump;
  int code;
  ic_message *message;
} error_manager;

typedef struct {
  struct jpeg_progress_mgr base;
} progress_manager;

// A scan goes over the whole image; a small file can have any number of them.
enum { most_scans = 500 };

static void leave(j_common_ptr decoder, int code) {
  error_manager *self = (error_manager *)decoder->err;
  self->code = code;
  char text[JMSG_LENGTH_MAX];
  decoder->err->format_message(decoder, text);
  snprintf(self->message->text, sizeof self->message->text, "%s", text);
  longjmp(self->jump, 1);
}

static void on_error(j_common_ptr decoder) {
  const int code = decoder->err->msg_code;
  leave(decoder,
        code == JERR_OUT_OF_MEMORY || code == JERR_NO_BACKING_STORE ? ic_memory : ic_invalid);
}

// Damage that libjpeg paints over is damage. What is no damage to pixels is let through.
static void on_message(j_common_ptr decoder, int level) {
  if (level >= 0) return;
  switch (decoder->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_TOO_MUCH_DATA:
      break;
    default:
      leave(decoder, ic_invalid);
  }
}

static void on_progress(j_common_ptr decoder) {
  if (!decoder->is_decompressor) return;
  if (((j_decompress_ptr)decoder)->input_scan_number <= most_scans) return;
  error_manager *self = (error_manager *)decoder->err;
  self->code = ic_invalid;
  snprintf(self->message->text, sizeof self->message->text, "there are more than %d scans",
           most_scans);
  longjmp(self->jump, 1);
}

static void start(j_decompress_ptr decoder, error_manager *errors, ic_message *message) {
  decoder->err = jpeg_std_error(&errors->base);
  errors->base.error_exit = on_error;
  errors->base.emit_message = on_message;
  errors->code = ic_ok;
  errors->message = message;
}

// Reads what stands before the pixels. May jump.
static int prepare(j_decompress_ptr decoder, const uint8_t *bytes, size_t count, size_t memory,
                   ic_header *header, ic_message *message) {
  decoder->mem->max_memory_to_use = (long)memory;
  jpeg_mem_src(decoder, (unsigned char *)bytes, (unsigned long)count);
  jpeg_read_header(decoder, TRUE);
  switch (decoder->jpeg_color_space) {
    case JCS_GRAYSCALE:
      decoder->out_color_space = JCS_GRAYSCALE;
      break;
    case JCS_RGB:
    case JCS_YCbCr:
      decoder->out_color_space = JCS_RGB;
      break;
    default:
      snprintf(message->text, sizeof message->text, "the image has %d channels of ink",
               decoder->num_components);
      return ic_unsupported;
  }
  header->width = decoder->image_width;
  header->height = decoder->image_height;
  header->channels = decoder->out_color_space == JCS_GRAYSCALE ? 1 : 3;
  return ic_ok;
}

int ic_jpeg_header(const uint8_t *bytes, size_t count, size_t memory, ic_header *header,
                   ic_message *message) {
  struct jpeg_decompress_struct decoder;
  error_manager errors;
  memset(&decoder, 0, sizeof decoder);
  start(&decoder, &errors, message);
  if (setjmp(errors.jump)) {
    jpeg_destroy_decompress(&decoder);
    return errors.code;
  }
  jpeg_create_decompress(&decoder);
  const int code = prepare(&decoder, bytes, count, memory, header, message);
  jpeg_destroy_decompress(&decoder);
  return code;
}

int ic_jpeg_decode(const uint8_t *bytes, size_t count, size_t memory, uint8_t *pixels, size_t size,
                   ic_message *message) {
  struct jpeg_decompress_struct decoder;
  error_manager errors;
  progress_manager progress;
  memset(&decoder, 0, sizeof decoder);
  start(&decoder, &errors, message);
  if (setjmp(errors.jump)) {
    jpeg_destroy_decompress(&decoder);
    return errors.code;
  }
  jpeg_create_decompress(&decoder);
  memset(&progress, 0, sizeof progress);
  progress.base.progress_monitor = on_progress;
  decoder.progress = &progress.base;
  ic_header header;
  int code = prepare(&decoder, bytes, count, memory, &header, message);
  if (code == ic_ok) {
    // The slower of the two transforms for whole numbers, which is exact to half a level: as Pillow
    // decodes.
    decoder.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&decoder);
    const size_t pitch = (size_t)header.width * header.channels;
    if (decoder.output_width != header.width || decoder.output_height != header.height ||
        (size_t)decoder.output_components != header.channels || size != pitch * header.height) {
      snprintf(message->text, sizeof message->text, "the image has another size than was given");
      code = ic_invalid;
    }
    while (code == ic_ok && decoder.output_scanline < decoder.output_height) {
      JSAMPROW row = pixels + decoder.output_scanline * pitch;
      jpeg_read_scanlines(&decoder, &row, 1);
    }
    if (code == ic_ok) jpeg_finish_decompress(&decoder);
  }
  jpeg_destroy_decompress(&decoder);
  return code;
}

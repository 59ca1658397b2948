// libjpeg, as the system has it: the module's only header. It wants FILE and size_t before.
#include <stddef.h>
#include <stdio.h>
//
#include <jpeglib.h>

// libpng, as the system has it: the module's only header.
#include <png.h>

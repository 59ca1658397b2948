// Oniguruma of the system (libonig-dev).

#include <oniguruma.h>

// The processors that the process may run on.

#define _GNU_SOURCE
#include "text_processors.h"

#include <sched.h>
#include <stdlib.h>

int text_processors(void) {
  // Machines with more processors than a set has take a larger one.
  for (int most = 1024; most <= 1 << 20; most *= 2) {
    cpu_set_t *set = CPU_ALLOC(most);
    if (!set) return 1;
    const size_t size = CPU_ALLOC_SIZE(most);
    const int failed = sched_getaffinity(0, size, set);
    const int count = failed ? 0 : CPU_COUNT_S(size, set);
    CPU_FREE(set);
    if (!failed) return count > 0 ? count : 1;
  }
  return 1;
}

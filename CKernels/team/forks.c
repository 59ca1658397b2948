// How often this process is a fork, counted from its first team on.
#include <pthread.h>
#include <stdatomic.h>

#include "team_internal.h"

static _Atomic uint32_t forks;

static void count_fork(void) { atomic_fetch_add(&forks, 1); }

uint32_t fork_count(void) { return atomic_load_explicit(&forks, memory_order_relaxed); }

static void begin(void) { pthread_atfork(NULL, NULL, count_fork); }

void watch_forks(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, begin);
}

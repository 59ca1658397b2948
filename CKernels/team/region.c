// Where the members come from: one OpenMP parallel region that lasts as long as the team, entered
// by a host thread of its own so that no calling thread becomes OpenMP's. The only file of the
// project that knows OpenMP, of which it uses nothing but the region: no schedules, no barriers.
//
// With CK_TEAM_PTHREADS the same members are plain threads: for ThreadSanitizer, which does not
// understand OpenMP's runtime.
#include <stdlib.h>

#include "team_internal.h"

static void report(ck_team *team, bool failed) {
  if (failed) atomic_store(&team->failed, true);
  atomic_fetch_add(&team->started.value, 1);
  watched_wake(&team->started);
}

// Until `expected` reports have come.
static void await_reports(ck_team *team, uint32_t expected) {
  patience none = {0};
  uint32_t seen;
  while ((seen = atomic_load(&team->started.value)) < expected) {
    watched_wait(&team->started, seen, &none);
  }
}

#ifdef CK_TEAM_PTHREADS

typedef struct start {
  ck_team *team;
  int32_t index;
} start;

static void *run_member(void *argument) {
  const start s = *(start *)argument;
  free(argument);
  report(s.team, false);
  team_member(s.team, s.index);
  return NULL;
}

static void *host(void *argument) {
  ck_team *team = argument;
  pthread_t threads[team->threads];
  int32_t made = 1;
  for (; made < team->threads; ++made) {
    start *s = malloc(sizeof *s);
    if (!s) break;
    *s = (start){team, made};
    if (pthread_create(&threads[made], NULL, run_member, s) != 0) {
      free(s);
      break;
    }
  }
  for (int32_t missing = made; missing < team->threads; ++missing) report(team, true);
  for (int32_t i = 1; i < made; ++i) pthread_join(threads[i], NULL);
  return NULL;
}

static bool threads_available(int32_t count) { return count > 0; }

#else

// The toolchain ships no omp.h; these are the runtime's documented entry points.
int omp_get_thread_num(void);
int omp_get_num_threads(void);
void omp_set_dynamic(int);
void omp_set_max_active_levels(int);
void kmp_set_blocktime(int);

static void *host(void *argument) {
  ck_team *team = argument;
  const int members = team->threads - 1;
  // What the environment may have asked of OpenMP in general must not shrink the team
  // (OMP_DYNAMIC, OMP_MAX_ACTIVE_LEVELS) or leave its threads spinning once it has ended
  // (KMP_BLOCKTIME, OMP_WAIT_POLICY).
  omp_set_dynamic(0);
  omp_set_max_active_levels(1);
  kmp_set_blocktime(0);
#pragma omp parallel num_threads(members)
  {
    const bool complete = omp_get_num_threads() == members;
    const int32_t index = omp_get_thread_num() + 1;
    if (complete) {
      // OMP_PROC_BIND may have tied this thread to the processor that the caller is on.
      sched_setaffinity(0, sizeof team->affinity, &team->affinity);
      // From here on nothing is asked of OpenMP: the process may end, and its runtime with it,
      // while this thread is still on its way to work.
      report(team, false);
      team_member(team, index);
    } else if (index == 1) {
      for (int missing = 0; missing < members; ++missing) report(team, true);
    }
  }
  return NULL;
}

static void *wait_for_gate(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

// OpenMP's runtime ends the process when it cannot make a thread, so the threads are first made
// here, all alive at once, where refusal is an answer.
static bool threads_available(int32_t count) {
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_t *threads = malloc((size_t)count * sizeof *threads);
  if (!threads) return false;
  pthread_mutex_lock(&gate);
  int32_t made = 0;
  while (made < count && pthread_create(&threads[made], NULL, wait_for_gate, &gate) == 0) ++made;
  pthread_mutex_unlock(&gate);
  for (int32_t i = 0; i < made; ++i) pthread_join(threads[i], NULL);
  free(threads);
  pthread_mutex_destroy(&gate);
  return made == count;
}

#endif

bool team_start(ck_team *team) {
  if (!threads_available(team->threads)) return false;
  if (pthread_create(&team->host, NULL, host, team) != 0) return false;
  await_reports(team, (uint32_t)team->threads - 1);
  if (!atomic_load(&team->failed)) return true;
  team->epoch.run.ending = true;
  atomic_fetch_add(&team->epoch.value, 1);
  watched_wake(&team->epoch);
  team_join(team);
  return false;
}

void team_join(ck_team *team) { pthread_join(team->host, NULL); }

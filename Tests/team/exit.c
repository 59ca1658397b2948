// A process that ends while a member of its team is still on its way to work must end in peace: it
// crashed where the member asked OpenMP for its number after the runtime had been taken down.
//
// The interval is a few instructions wide, so both sides of it are drawn out: OpenMP's answer takes
// 100 ms, and the process's end waits until .ci/exit reads what it prints.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ck_team.h"

int omp_get_thread_num(void);

int omp_get_thread_num(void) {
  usleep(100000);
  int (*real)(void) = (int (*)(void))dlsym(RTLD_NEXT, "omp_get_thread_num");
  return real ? real() : 0;
}

int main(void) {
  enum { bytes = 300000 };  // more than a pipe holds
  static char buffer[2 * bytes];
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  if (!ck_team_create(2, 0)) return 1;
  for (int i = 0; i < bytes; i++) putchar('.');
  return 0;  // prints last of all, when OpenMP's runtime is gone
}

// A disk that takes its time: preloaded, every fsync and fdatasync lasts HEADGATE_SLOW_SYNC_US
// microseconds longer, for the gateway and for the programs beside it alike. For machines whose
// disk answers quicker than those that durable writes meet elsewhere.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_as_told(void) {
  const char* us = getenv("HEADGATE_SLOW_SYNC_US");
  const long n = us == NULL ? 0 : atol(us);
  const struct timespec t = {n / 1000000, n % 1000000 * 1000};
  if (n > 0) nanosleep(&t, NULL);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  const int rc = real(fd);
  wait_as_told();
  return rc;
}

int fsync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  const int rc = real(fd);
  wait_as_told();
  return rc;
}

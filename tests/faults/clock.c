/* A wall clock that jumps: adds to the system's the seconds that stand in the file $CLOCK_JUMP. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static const volatile long *jump;
    long result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME && result == 0) {
        if (!jump && getenv("CLOCK_JUMP")) {
            int file = open(getenv("CLOCK_JUMP"), O_RDONLY | O_CLOEXEC);
            void *map = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
            close(file);
            jump = map == MAP_FAILED ? 0 : map;
        }
        time->tv_sec += jump ? *jump : 0;
    }
    return (int)result;
}

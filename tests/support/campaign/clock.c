/* Steps the wall clock of a process by the seconds in a file, which is read at each call:
 *
 *     cc -shared -fPIC -O2 -o clock.so clock.c
 *     CLOCK_OFFSET_FILE=offset LD_PRELOAD=$PWD/clock.so COMMAND
 *
 * The monotonic clock, by which programs wait, stays the true one. libfaketime 0.9.10 lets
 * time.sleep of Python fail, also with FAKETIME_DONT_FAKE_MONOTONIC.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Return the seconds in the file; 0 without one. */
static long read_offset(void)
{
    char text[32] = "";
    const char *name = getenv("CLOCK_OFFSET_FILE");
    int saved = errno;
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) < 0)
            text[0] = 0;
        close(file);
    }
    errno = saved;
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += read_offset();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = syscall(SYS_gettimeofday, now, zone);
    if (result == 0 && now)
        now->tv_sec += read_offset();
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

/* Valgrind client requests as plain functions, and calls through a pointer with a request on either side.
 *
 * Every argument travels as a machine word: all measured functions take pointers and sizes, and the System V
 * calling convention lets a function ignore arguments it does not have.
 */
#include <stddef.h>
#include <stdint.h>
#include <valgrind/callgrind.h>
#include <valgrind/memcheck.h>

typedef int (*function)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t);

void ct_poison(uintptr_t address, size_t size) { VALGRIND_MAKE_MEM_UNDEFINED((void *)address, size); }

void ct_declassify(uintptr_t address, size_t size) { VALGRIND_MAKE_MEM_DEFINED((void *)address, size); }

unsigned ct_errors(void) { return VALGRIND_COUNT_ERRORS; }

int ct_running(void) { return RUNNING_ON_VALGRIND; }

/* Calls f and marks nothing but its return code as public. */
int ct_call(function f, const uintptr_t *a)
{
    volatile int result = f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    VALGRIND_MAKE_MEM_DEFINED((void *)&result, sizeof result);
    return result;
}

/* Counts the instructions of one call of f; the count is dumped under `tag`. */
void ct_count(function f, const uintptr_t *a, const char *tag)
{
    CALLGRIND_ZERO_STATS;
    CALLGRIND_TOGGLE_COLLECT;
    f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
    CALLGRIND_TOGGLE_COLLECT;
    CALLGRIND_DUMP_STATS_AT(tag);
}

/* For code that valgrind finds by its symbols: forget what was counted, and dump it under `tag`. */
void ct_zero(void) { CALLGRIND_ZERO_STATS; }

void ct_dump(const char *tag) { CALLGRIND_DUMP_STATS_AT(tag); }

/* A comparison as C programmers write it when nobody looks: the control that callgrind must catch. */
int ct_control_compare(const unsigned char *a, const unsigned char *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return 1;
    return 0;
}

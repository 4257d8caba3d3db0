/* Time in nanoseconds. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/arena.h"

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

int64_t clock_now(void);  /* monotonic */
int64_t clock_wall(void); /* since the epoch */
struct timespec clock_to_timespec(int64_t ns);
static inline int64_t clock_from_timespec(struct timespec ts)
{
	return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}
/* RFC 3339 in UTC with as many fraction digits as needed (Go's RFC3339Nano). */
char *clock_rfc3339(struct arena *a, int64_t wall_ns);
/* Accepts any zone offset and fraction; false on junk. What 64 bits of nanoseconds can't hold
 * becomes the earliest or latest that they can. */
bool clock_parse_rfc3339(struct str s, int64_t *ret_wall_ns);
/* Go's time.ParseDuration: "1h2m3.5s", "300ms"; false on junk. */
bool clock_parse_duration(struct str s, int64_t *ret_ns);
/* Go's Duration.String(): "1h2m3.5s", "0s". */
char *clock_format_duration(struct arena *a, int64_t ns);

#endif

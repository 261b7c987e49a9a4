/** Static probes for perf, bpftrace and SystemTap, where <sys/sdt.h> was there to build with: a
 * probe that nobody uses is one nop. `perf list`, or bpftrace -l 'usdt:build/cloche-keeper:*'. */
#ifndef CLOCHE_BASE_PROBES_H
#define CLOCHE_BASE_PROBES_H

#if defined(__has_include) && !defined(CLOCHE_NO_PROBES)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PROBE3(name, a, b, c)    DTRACE_PROBE3(cloche, name, a, b, c)
#define PROBE4(name, a, b, c, d) DTRACE_PROBE4(cloche, name, a, b, c, d)
#endif
#endif

#ifndef PROBE3
#define PROBE3(name, a, b, c)    ((void)(a), (void)(b), (void)(c))
#define PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif

#endif

/**
 * One direction of an interactive test: what one side writes is handed to the other. Private to
 * runtime/judge/.
 *
 * The two could share a pipe. But then a side that ends makes the other one fail at once, and
 * nobody can tell afterwards whose fault came first. Through a relay the other side learns of an
 * end only after the judge has.
 */
#ifndef CLOCHE_RUNTIME_JUDGE_RELAY_H
#define CLOCHE_RUNTIME_JUDGE_RELAY_H

#include <stdbool.h>
#include <stdint.h>

enum relay_state {
    RELAY_WAITS_INPUT,  /* wait until @from is readable */
    RELAY_WAITS_OUTPUT, /* wait until @to is writable */
    RELAY_WRITER_GONE,
    RELAY_READER_GONE
};

struct relay {
    int from, to; /* non-blocking ends of two pipes; closed when one side is gone */
    enum relay_state state;
};

/** Move what can be moved. Once a side is gone both ends are closed and it stays that way. */
enum relay_state relay_step(struct relay *r);
void relay_close(struct relay *r);

#endif

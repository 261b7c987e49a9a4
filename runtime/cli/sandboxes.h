/** What the commands that look at sandboxes share (list.c). */
#ifndef CLOCHE_RUNTIME_CLI_SANDBOXES_H
#define CLOCHE_RUNTIME_CLI_SANDBOXES_H

#include "base/error.h"
#include "runtime/protocol.h"
#include "runtime/tail.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/** A keeper's answer, waited for a few seconds; NULL with @err. */
cJSON *sandboxes_ask(const char *id, const char *operation, const struct fields *fields,
                     struct error *err);

/** The keeper's word, or the record of a sandbox without one, whose status then is
 * "failed(keeper)". NULL with @err. */
cJSON *sandboxes_info(const char *id, struct error *err);

/** Exit status for @err: a bad id is a usage error. */
int sandboxes_status(const struct error *err);

/** "" and 0 where there is none. */
const char *sandboxes_text(const cJSON *o, const char *name);
double sandboxes_number(const cJSON *o, const char *name);

/** As JSON on stdout, without a newline. */
void sandboxes_print(const cJSON *o);

/** For people: "12.3M", "1h02m". */
const char *sandboxes_size(char *buf, size_t size, double bytes);
/** Of a member that is no number (a limit there is not, a figure that is not known): @none. */
const char *sandboxes_size_of(char *buf, size_t size, const cJSON *o, const char *name,
                              const char *none);
const char *sandboxes_count_of(char *buf, size_t size, const cJSON *o, const char *name,
                               const char *none);
const char *sandboxes_time(char *buf, size_t size, double ms);

/** logs.c: what a file of a state directory holds, and @go_on: what comes, until the directory
 * goes. */
int sandboxes_show_file(int dir, const char *file, bool go_on, tail_fn *show, void *context,
                        struct error *err);

/** Of every sandbox, of those that are made later, too; ends with an error. */
int sandboxes_follow_all(const char *file, tail_fn *show, void *context, struct error *err);

/** One mark a value, the newest at the right; @full is the highest mark, 0: the highest value. */
void sandboxes_sparkline(const cJSON *values, size_t width, double full);
/** stats --history */
int sandboxes_history(const char *id, bool json, struct error *err);

#endif

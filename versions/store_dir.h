/**
 * Directories and digests of the store, for store.c, archive.c and recover.c. Private to versions/.
 */
#ifndef CLOCHE_VERSIONS_STORE_DIR_H
#define CLOCHE_VERSIONS_STORE_DIR_H

#include "base/error.h"
#include "versions/db.h"

#include <stddef.h>
#include <stdint.h>

#define DIGEST_HEX_BYTES 65
#define STORE_STAGE      "stage"
#define STORE_MODULES    "modules"
#define STORE_ARTIFACT   "module.so"
#define STORE_MANIFEST   "manifest.json"
#define STORE_LOG        "build.log"
#define STORE_CURRENT    "current"
#define STORE_PATH_BYTES 128

/** SHA-256 as sha256sum prints it. */
void store_digest(const void *data, size_t size, char hex[DIGEST_HEX_BYTES]);

/** "modules/<m>" and "modules/<m>/<N>", of a valid module name. */
const char *store_module_path(char buf[STORE_PATH_BYTES], const char *module);
const char *store_version_path(char buf[STORE_PATH_BYTES], const char *module, uint32_t number);

/** store.unknown_module unless @module is a possible name. */
int store_check_name(const char *module, struct error *err);

/** Move a version's directory out of sight and remove it; nothing there is fine. -1 with errno. */
int store_remove(struct versions *v, const char *module, uint32_t number);

/** A decimal number as a directory of a version has it; 0 when it is none. */
uint32_t store_parse_number(const char *name);

/** errno of a failed write -> store.full or store.unwritable. */
int store_fail(struct error *err, int errnum, const char *what, const char *module);

#endif

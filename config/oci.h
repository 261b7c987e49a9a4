/** One reading of one OCI file; shared by the files that read its parts. Private to config/. */
#ifndef CLOCHE_CONFIG_OCI_H
#define CLOCHE_CONFIG_OCI_H

#include "config/json.h"
#include "config/names.h"
#include "config/spec.h"

struct oci_reader {
    struct json_reader json; /* first: readers of fields get a pointer to it */
    struct spec *spec;
    const char *bundle_dir;

    /* what this file says itself, as opposed to the layers below it */
    bool bundle; /* root.path and no cloche object: the file states everything */
    bool root_given, mounts_given, namespaces_given, hostname_given, network_given, user_given;
    const char *root_path; /* as written */
    bool rootfs_given;     /* by the cloche object */
    bool memory_given, processes_given, quota_given, swap_given, open_files_given, file_size_given;
    uint64_t swap_total; /* OCI's sum of memory and swap; INT64_MAX stands for none */
    bool tmp_bytes_given, tmp_files_given; /* by the cloche object */
    bool seccomp_given;
};

static inline struct oci_reader *oci_reader(struct json_reader *r)
{
    return (struct oci_reader *)r;
}

/* Each reads one object of the file into struct spec (oci_read_resources: its resources). */
json_read_fn oci_read_process, oci_read_mounts, oci_read_linux, oci_read_resources, oci_read_cloche;

/** Known to OCI, not to be had here: an error, unless it says nothing (false, "", [] or {}; the
 * second also takes 0 and -1). field->expect says why. */
json_read_fn oci_refuse_property, oci_refuse_unless_idle;

/** uidMappings and gidMappings, of linux and of mounts. */
void oci_get_id_maps(struct json_reader *r, const struct json_at *at, const cJSON *value,
                     struct spec_id_map **ret, size_t *ret_count);

/** "NAME": text, every value a string. */
void oci_get_pairs(struct json_reader *r, const struct json_at *at, const cJSON *value,
                   struct spec_pair **ret, size_t *ret_count);

/** Which profile is being read, so that it can extend its namesake of the next directory, and so
 * that a circle ends. */
struct profile_place {
    const char *name;
    int level; /* 0: the user's, 1: the system's, 2: built in */
    int depth;
};

/** A file as spec_apply_json() takes it, @what in front of errors; @place is NULL for one that is
 * no profile. */
int oci_apply(struct spec *s, const char *text, size_t size, const char *bundle_dir,
              const char *what, const struct profile_place *place, struct error *err);

int profile_apply(struct spec *s, const struct profile_place *place, struct error *err);

#endif

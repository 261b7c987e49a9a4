#include "versions/elf.h"

#include "base/cleanup.h"
#include "base/io.h"
#include "versions/elf_image.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct cloche_abi) == 32, "the ABI block is read from files");
_Static_assert(sizeof(struct cloche_module) == 112, "version 1.0 of the module structure");

#define MODULE_BYTES_1_0 112u
#define POINTERS         ((MODULE_BYTES_1_0 - sizeof(struct cloche_abi)) / 8)
#define LABEL_MAX        256
#define MAX_IMPORTS      16384

/* pointers of struct cloche_module behind the ABI block, in order */
enum slot {
    SLOT_NAME,
    SLOT_LABEL,
    SLOT_INIT,
    SLOT_HANDLE,
    SLOT_SAVE,
    SLOT_LOAD,
    SLOT_MIGRATE,
    SLOT_HEALTH,
    SLOT_STOP,
    SLOT_EXTENSION
};

struct pointer {
    bool relocated, external;
    uint64_t address; /* 0: NULL, unless external */
};

struct module_view {
    struct elf_image image;
    uint64_t address, size;
    struct pointer pointers[POINTERS];
    unsigned char *imported; /* by symbol index */
    uint64_t symbol_count;
};

static int find_module(struct module_view *m, struct error *err)
{
    bool found = false;
    for (uint64_t i = 1; i < m->image.symbol_count; i++) {
        Elf64_Sym s;
        if (!elf_image_symbol(&m->image, i, &s) || s.st_shndx == SHN_UNDEF)
            continue;
        const char *name = elf_image_string(&m->image, s.st_name);
        if (name == NULL || strcmp(name, CLOCHE_MODULE_SYMBOL) != 0)
            continue;
        if (found)
            return error_set(err, "verify.garbage", 0, "exports %s twice", CLOCHE_MODULE_SYMBOL);
        unsigned type = ELF64_ST_TYPE(s.st_info), bind = ELF64_ST_BIND(s.st_info);
        if ((type != STT_OBJECT && type != STT_NOTYPE) ||
            (bind != STB_GLOBAL && bind != STB_WEAK) || s.st_shndx == SHN_ABS)
            return error_set(err, "verify.no_symbol", 0, "%s is not an exported data symbol",
                             CLOCHE_MODULE_SYMBOL);
        m->address = s.st_value;
        m->size = s.st_size;
        found = true;
    }
    if (found)
        return 0;
    error_set(err, "verify.no_symbol", 0, "does not export %s: it is not a module",
              CLOCHE_MODULE_SYMBOL);
    return error_hint(err, "include <cloche/module.h> and end the source with CLOCHE_MODULE(...)");
}

static int read_abi(const struct module_view *m, struct cloche_abi *abi, struct error *err)
{
    const void *at = elf_image_at(&m->image, m->address, sizeof *abi);
    if (at == NULL)
        return error_set(err, "verify.truncated", 0, "%s has no bytes in the file",
                         CLOCHE_MODULE_SYMBOL);
    memcpy(abi, at, sizeof *abi);
    if (abi->magic != CLOCHE_MODULE_MAGIC)
        return error_set(err, "verify.magic", 0, "%s begins with 0x%08x instead of 0x%08x",
                         CLOCHE_MODULE_SYMBOL, abi->magic, CLOCHE_MODULE_MAGIC);
    if (abi->major != CLOCHE_MODULE_MAJOR) {
        error_set(err, "verify.major", 0, "module ABI %u.%u, this host has %u.%u", abi->major,
                  abi->minor, CLOCHE_MODULE_MAJOR, CLOCHE_MODULE_MINOR);
        return error_hint(err, "compile it again with this host's cloche/module.h");
    }
    if (abi->minor > CLOCHE_MODULE_MINOR) {
        error_set(err, "verify.minor", 0, "module ABI %u.%u is newer than this host's %u.%u",
                  abi->major, abi->minor, CLOCHE_MODULE_MAJOR, CLOCHE_MODULE_MINOR);
        return error_hint(err, "update Cloche, or compile with this host's cloche/module.h");
    }
    if (abi->module_size < MODULE_BYTES_1_0 || (m->size != 0 && abi->module_size > m->size) ||
        elf_image_at(&m->image, m->address, abi->module_size) == NULL)
        return error_set(err, "verify.abi", 0, "module_size is %u, the symbol has %llu bytes",
                         abi->module_size, (unsigned long long)m->size);
    if (abi->pointer_size != sizeof(void *) || abi->long_size != sizeof(long) ||
        abi->little_endian != CLOCHE_LITTLE_ENDIAN || abi->libc != CLOCHE_LIBC)
        return error_set(err, "verify.abi", 0,
                         "compiled for another ABI (pointers of %u, long of %u, libc %u)",
                         abi->pointer_size, abi->long_size, abi->libc);
    if (abi->reserved != 0)
        return error_set(err, "verify.abi", 0, "the reserved word of its ABI block is %u, not 0",
                         abi->reserved);
    if ((abi->flags & ~CLOCHE_FLAGS_KNOWN) != 0)
        return error_set(err, "verify.abi", 0, "unknown flags 0x%x",
                         abi->flags & ~CLOCHE_FLAGS_KNOWN);
    if ((abi->flags & CLOCHE_STATE_ARENA) != 0 &&
        (abi->state_schema == 0 || (abi->flags & CLOCHE_THREADS) != 0))
        return error_set(err, "verify.abi", 0, "STATE_ARENA %s",
                         abi->state_schema == 0 ? "without a state_schema"
                                                : "together with THREADS");
    if (abi->state_schema_min > abi->state_schema)
        return error_set(err, "verify.abi", 0, "state_schema_min %u is newer than state_schema %u",
                         abi->state_schema_min, abi->state_schema);
    return 0;
}

/* One relocation of eight bytes at @at: is it a pointer of ours? */
static int note_pointer(struct module_view *m, uint64_t at, struct pointer value, struct error *err)
{
    uint64_t end = m->address + MODULE_BYTES_1_0;
    if (at >= end || at + 8 <= m->address || at + 8 < at)
        return 0;
    uint64_t offset = at - m->address;
    if (at < m->address || offset < sizeof(struct cloche_abi))
        return error_set(err, "verify.abi", 0, "the loader would write into the ABI block");
    uint64_t slot = (offset - sizeof(struct cloche_abi)) / 8;
    if (offset % 8 != 0 || slot >= POINTERS || m->pointers[slot].relocated)
        return error_set(err, "verify.garbage", 0, "%s is relocated twice or askew",
                         CLOCHE_MODULE_SYMBOL);
    value.relocated = true;
    m->pointers[slot] = value;
    return 0;
}

static int read_rela(struct module_view *m, uint64_t table, uint64_t bytes, struct error *err)
{
    if (bytes == 0)
        return 0;
    const unsigned char *at = elf_image_at(&m->image, table, bytes);
    if (at == NULL || bytes % sizeof(Elf64_Rela) != 0)
        return error_set(err, "verify.garbage", 0, "relocations lie outside the segments");
    for (uint64_t i = 0; i < bytes / sizeof(Elf64_Rela); i++) {
        Elf64_Rela r;
        memcpy(&r, at + i * sizeof r, sizeof r);
        uint64_t index = ELF64_R_SYM(r.r_info), type = ELF64_R_TYPE(r.r_info);
        struct pointer value = {.address = (uint64_t)r.r_addend};
        if (index != 0) {
            Elf64_Sym s;
            if (index >= m->symbol_count || !elf_image_symbol(&m->image, index, &s))
                return error_set(err, "verify.garbage", 0, "a relocation names symbol %llu of %llu",
                                 (unsigned long long)index, (unsigned long long)m->symbol_count);
            m->imported[index] = s.st_shndx == SHN_UNDEF;
            value.external = s.st_shndx == SHN_UNDEF;
            value.address = s.st_value + (type == ELF_ABSOLUTE ? (uint64_t)r.r_addend : 0);
        }
        if (note_pointer(m, r.r_offset, value, err) < 0)
            return -1;
    }
    return 0;
}

/* packed relative relocations: an even word is an address, an odd one a map of the 63 words that
 * follow; the addends stand in place */
static int read_relr(struct module_view *m, struct error *err)
{
    uint64_t bytes = m->image.dyn[DYN_RELRSZ], base = 0;
    const unsigned char *at = elf_image_at(&m->image, m->image.dyn[DYN_RELR], bytes);
    if (at == NULL || bytes % 8 != 0)
        return error_set(err, "verify.garbage", 0, "relocations lie outside the segments");
    for (uint64_t i = 0; i < bytes / 8; i++) {
        uint64_t word;
        memcpy(&word, at + i * 8, 8);
        bool map = (word & 1) != 0;
        uint64_t here = map ? base : word;
        for (unsigned bit = 1; bit < 64; bit++, here += 8) {
            if (!map || (word >> bit & 1) != 0) {
                struct pointer value = {0};
                const void *place = elf_image_at(&m->image, here, 8);
                if (place != NULL)
                    memcpy(&value.address, place, 8);
                if (note_pointer(m, here, value, err) < 0)
                    return -1;
            }
            if (!map)
                break;
        }
        base = map ? base + 63 * 8 : word + 8;
    }
    return 0;
}

static int read_relocations(struct module_view *m, struct error *err)
{
    const struct elf_image *e = &m->image;
    if (e->dyn_set[DYN_REL] || (e->dyn_set[DYN_PLTREL] && e->dyn[DYN_PLTREL] != DT_RELA) ||
        (e->dyn_set[DYN_RELAENT] && e->dyn[DYN_RELAENT] != sizeof(Elf64_Rela)) ||
        (e->dyn_set[DYN_RELRENT] && e->dyn[DYN_RELRENT] != 8))
        return error_set(err, "verify.garbage", 0, "relocations of a kind that %s does not have",
                         ELF_MACHINE_NAMED);

    /* the loader follows an index wherever it points, also past what the hash tables admit */
    const unsigned char *symbols = elf_image_at(e, e->dyn[DYN_SYMTAB], sizeof(Elf64_Sym));
    m->symbol_count = symbols == NULL ? 0 : (e->size - (size_t)(symbols - e->data)) / 24;
    if (e->dyn_set[DYN_RELA] && read_rela(m, e->dyn[DYN_RELA], e->dyn[DYN_RELASZ], err) < 0)
        return -1;
    if (e->dyn_set[DYN_JMPREL] && read_rela(m, e->dyn[DYN_JMPREL], e->dyn[DYN_PLTRELSZ], err) < 0)
        return -1;
    return e->dyn_set[DYN_RELR] ? read_relr(m, err) : 0;
}

static int read_imports(struct arena *a, const struct module_view *m, struct elf_info *ret,
                        struct error *err)
{
    uint64_t count = 0;
    for (uint64_t i = 1; i < m->symbol_count; i++) {
        Elf64_Sym s;
        if (!elf_image_symbol(&m->image, i, &s))
            break;
        if (!m->imported[i] && (i >= m->image.symbol_count || s.st_shndx != SHN_UNDEF))
            continue;
        const char *name = elf_image_string(&m->image, s.st_name);
        if (name == NULL)
            return error_set(err, "verify.garbage", 0, "symbol %llu has no name",
                             (unsigned long long)i);
        if (count == MAX_IMPORTS)
            return error_set(err, "verify.garbage", 0, "imports more than %d symbols", MAX_IMPORTS);
        ret->imports = arena_grow(a, ret->imports, count, sizeof *ret->imports);
        ret->imports[count].name = arena_strdup(a, name);
        ret->imports[count++].weak = ELF64_ST_BIND(s.st_info) == STB_WEAK;
    }
    ret->import_count = count;
    return 0;
}

static int read_libraries(struct arena *a, const struct elf_image *e, struct elf_info *ret,
                          struct error *err)
{
    for (size_t i = 0; i < e->needed_count; i++) {
        const char *name = elf_image_string(e, e->needed[i]);
        if (name == NULL || *name == '\0')
            return error_set(err, "verify.garbage", 0, "a needed library has no name");
        strings_add(a, &ret->needed, name);
    }
    const char *soname = e->dyn_set[DYN_SONAME] ? elf_image_string(e, e->dyn[DYN_SONAME]) : "";
    if (soname == NULL)
        return error_set(err, "verify.garbage", 0, "its SONAME lies outside the string table");
    ret->soname = arena_strdup(a, soname);
    return 0;
}

/* What would weaken the process that loads it, whatever the policy says. */
static int check_hardening(const struct elf_image *e, struct error *err)
{
    for (size_t i = 0; i < e->load_count; i++)
        if ((e->loads[i].flags & (PF_W | PF_X)) == (PF_W | PF_X))
            return error_set(err, "verify.rwx", 0, "a segment is writable and executable");
    if (!e->has_stack_header || (e->stack_flags & PF_X) != 0) {
        error_set(err, "verify.exec_stack", 0, "%s",
                  e->has_stack_header
                      ? "asks for an executable stack"
                      : "has no PT_GNU_STACK, which the loader takes for an executable stack");
        return error_hint(err, "link with -Wl,-z,noexecstack");
    }
    if (e->dyn_set[DYN_TEXTREL] || (e->dyn[DYN_FLAGS] & DF_TEXTREL) != 0) {
        error_set(err, "verify.textrel", 0, "has relocations in its code (TEXTREL)");
        return error_hint(err, "compile with -fPIC");
    }
    if (e->dyn_set[DYN_RPATH] || e->dyn_set[DYN_RUNPATH])
        return error_set(err, "verify.runpath", 0, "has an RPATH or RUNPATH of its own");
    if (e->dyn_set[DYN_AUDIT] || e->dyn_set[DYN_DEPAUDIT] || e->dyn_set[DYN_FILTER] ||
        e->dyn_set[DYN_AUXILIARY])
        return error_set(err, "verify.library", 0, "names an audit or filter library");
    if ((e->dyn[DYN_FLAGS_1] & DF_1_PIE) != 0)
        return error_set(err, "verify.type", 0, "an executable, not a shared object");
    return 0;
}

static bool given(const struct module_view *m, enum slot slot)
{
    return m->pointers[slot].address != 0 || m->pointers[slot].external;
}

static int read_texts(struct arena *a, const struct module_view *m, struct elf_info *ret,
                      struct error *err)
{
    const struct pointer *p = &m->pointers[SLOT_NAME];
    const char *name = p->address == 0 ? NULL : elf_image_text_at(&m->image, p->address, 65);
    if (name == NULL || !spec_valid_id(name)) {
        error_set(err, "verify.name", 0, "has no valid module name");
        return error_hint(err, "1 to 64 of A-Z a-z 0-9 _ . - and a letter or digit first");
    }
    ret->name = arena_strdup(a, name);
    p = &m->pointers[SLOT_LABEL];
    const char *label =
        p->address == 0 ? NULL : elf_image_text_at(&m->image, p->address, LABEL_MAX);
    ret->label = arena_strdup(a, label == NULL ? "" : label);
    return 0;
}

static int check_complete(const struct module_view *m, struct elf_info *ret, struct error *err)
{
    ret->has_save_state = given(m, SLOT_SAVE);
    ret->has_load_state = given(m, SLOT_LOAD);
    ret->has_migrate = given(m, SLOT_MIGRATE);
    ret->has_health = given(m, SLOT_HEALTH);
    ret->has_extensions = given(m, SLOT_EXTENSION);
    if (!given(m, SLOT_INIT) || !given(m, SLOT_HANDLE))
        return error_set(err, "verify.incomplete", 0, "has no %s function",
                         given(m, SLOT_INIT) ? "handle" : "init");
    if (ret->abi.state_schema != 0 && (!ret->has_save_state || !ret->has_load_state))
        return error_set(err, "verify.incomplete", 0, "has state schema %u but no %s function",
                         ret->abi.state_schema, ret->has_save_state ? "load_state" : "save_state");
    return 0;
}

int elf_inspect(struct arena *a, const void *data, size_t size, struct elf_info *ret,
                struct error *err)
{
    struct module_view m = {0};
    *ret = (struct elf_info){.size_bytes = size};
    if (elf_image_open(&m.image, data, size, err) < 0 || check_hardening(&m.image, err) < 0 ||
        find_module(&m, err) < 0 || read_abi(&m, &ret->abi, err) < 0)
        return -1;

    size_t symbols = size / sizeof(Elf64_Sym) + 1;
    _cleanup_free_ unsigned char *imported = calloc(symbols, 1);
    if (imported == NULL)
        return error_set(err, "verify.unreadable", ENOMEM, "cannot inspect %zu bytes", size);
    m.imported = imported;
    if (read_relocations(&m, err) < 0 || read_libraries(a, &m.image, ret, err) < 0 ||
        read_imports(a, &m, ret, err) < 0 || read_texts(a, &m, ret, err) < 0 ||
        check_complete(&m, ret, err) < 0)
        return -1;
    return 0;
}

/* --- policy ---------------------------------------------------------------------------------- */

static const char *const default_libraries[] = {
    "libc.so.6",       "libm.so.6",   "libgcc_s.so.1",  "libstdc++.so.6",
    "libpthread.so.0", "libdl.so.2",  "librt.so.1",     "ld-linux-*.so.[12]",
    "linux-vdso.so.1", "libc++.so.1", "libc++abi.so.1", "libatomic.so.1"};

static bool matches(const char *name, const char *const *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    return false;
}

static uint64_t size_cap(const struct elf_policy *p)
{
    return p->size_cap_bytes != 0 ? p->size_cap_bytes : ELF_DEFAULT_SIZE_CAP;
}

static int too_large(uint64_t size, const struct elf_policy *p, struct error *err)
{
    return error_set(err, "verify.size", 0, "has %llu bytes, the cap is %llu",
                     (unsigned long long)size, (unsigned long long)size_cap(p));
}

static int judge_libraries(const struct elf_info *info, const struct elf_policy *p,
                           struct error *err)
{
    bool own = p->allow_libraries != NULL && p->allow_libraries->count > 0;
    const char *const *allowed =
        own ? (const char *const *)p->allow_libraries->items : default_libraries;
    size_t count =
        own ? p->allow_libraries->count : sizeof default_libraries / sizeof *default_libraries;
    for (size_t i = 0; i < info->needed.count; i++) {
        const char *name = info->needed.items[i];
        if (strchr(name, '/') != NULL || !matches(name, allowed, count)) {
            return error_set(err, "verify.library", 0, "needs library \"%s\", which is not allowed",
                             name);
        }
    }
    return 0;
}

static int judge_symbols(const struct elf_info *info, const struct elf_policy *p, struct error *err)
{
    if (p->deny_symbols == NULL)
        return 0;
    char list[512] = "";
    size_t used = 0, found = 0;
    for (size_t i = 0; i < info->import_count; i++) {
        if (!matches(info->imports[i].name, (const char *const *)p->deny_symbols->items,
                     p->deny_symbols->count))
            continue;
        found++;
        int n = snprintf(list + used, sizeof list - used, "%s\"%s\"", used == 0 ? "" : ", ",
                         info->imports[i].name);
        if (n > 0 && (size_t)n < sizeof list - used)
            used += (size_t)n;
        list[used] = '\0';
    }
    if (found == 0)
        return 0;
    return error_set(err, "verify.symbol", 0, "uses %s %s, which the policy denies",
                     found == 1 ? "symbol" : "symbols", list);
}

int elf_judge(const struct elf_info *info, const struct elf_policy *policy, struct error *err)
{
    if (info->size_bytes > size_cap(policy))
        return too_large(info->size_bytes, policy, err);
    if (policy->name != NULL && strcmp(policy->name, info->name) != 0) {
        error_set(err, "verify.name", 0, "is module \"%s\", not \"%s\"", info->name, policy->name);
        return error_hint(err, "CLOCHE_MODULE(\"%s\", ...)", policy->name);
    }
    if (judge_libraries(info, policy, err) < 0 || judge_symbols(info, policy, err) < 0)
        return -1;
    return policy->exports == NULL ? 0 : elf_exports_check(policy->exports, info, err);
}

/** What fixes it, where the finding itself does not say. */
static const struct {
    const char *code, *hint;
} fixes[] = {
    {"verify.size", "strip it, or allow more with size_bytes of the module policy"},
    {"verify.truncated", "it is not whole: build it again"},
    {"verify.garbage", "build it again, with gcc, clang or ld -shared"},
    {"verify.layout", "build it again, with gcc, clang or ld -shared"},
    {"verify.class", "compile it for this machine"},
    {"verify.machine", "compile it for this machine"},
    {"verify.type", "link it with -shared"},
    {"verify.rwx", "link it without -Wl,--omagic or a script that joins code and data"},
    {"verify.runpath", "link it without -rpath"},
    {"verify.magic", "compile it again with this host's cloche/module.h"},
    {"verify.abi", "end it with CLOCHE_MODULE of this host's cloche/module.h"},
    {"verify.incomplete", "name that function in CLOCHE_MODULE(...)"},
    {"verify.library", "allow it with allow_libraries, or link it statically"},
    {"verify.symbol", "do without, or change deny_symbols of the module policy"},
    {"verify.unreadable", "look at its owner and its mode"},
};

static int in_file(const struct elf_policy *policy, struct error *err)
{
    const char *file = policy->file != NULL ? policy->file : "module";
    for (size_t i = 0; err != NULL && i < sizeof fixes / sizeof *fixes; i++) {
        if (strcmp(fixes[i].code, err->code) == 0)
            error_hint(err, "%s", fixes[i].hint);
    }
    error_wrap(err, "%s", file);
    return error_path(err, file);
}

int elf_verify(struct arena *a, const void *data, size_t size, const struct elf_policy *policy,
               struct elf_info *ret, struct error *err)
{
    if (size > size_cap(policy)) {
        too_large(size, policy, err);
        return in_file(policy, err);
    }
    if (elf_inspect(a, data, size, ret, err) < 0 || elf_judge(ret, policy, err) < 0)
        return in_file(policy, err);
    return 0;
}

int elf_read_file(int fd, const struct elf_policy *policy, void **ret_data, size_t *ret_size,
                  struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        error_set(err, "verify.unreadable", errno, "cannot be examined");
        return in_file(policy, err);
    }
    if (!S_ISREG(st.st_mode)) {
        error_set(err, "verify.garbage", 0, "is not a regular file");
        return in_file(policy, err);
    }
    if ((uint64_t)st.st_size > size_cap(policy)) {
        too_large((uint64_t)st.st_size, policy, err);
        return in_file(policy, err);
    }
    size_t size = (size_t)st.st_size;
    _cleanup_free_ unsigned char *data = malloc(size + 1);
    ssize_t n = data == NULL ? -1 : pread(fd, data, size, 0);
    if (n < 0) {
        error_set(err, "verify.unreadable", errno, "cannot be read");
        return in_file(policy, err);
    }
    *ret_size = (size_t)n;
    *ret_data = TAKE_PTR(data);
    return 0;
}

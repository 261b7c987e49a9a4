#include "base/arena.h"
#include "tests/unit/modules.h"
#include "versions/elf.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <sys/stat.h>

static const struct elf_policy any = {.file = "m.so"};

/* the code of the refusal, or "ok" */
static const char *verdict_of(const void *data, size_t size, const struct elf_policy *policy,
                              struct error *err)
{
    struct arena *a = arena_new();
    struct elf_info info;
    struct guarded g = guarded_new(data, size);
    *err = (struct error)ERROR_INIT;
    int r = elf_verify(a, g.data, g.size, policy, &info, err);
    guarded_free(&g);
    arena_free(a);
    return r == 0 ? "ok" : err->code;
}

static void expect(const char *what, const void *data, size_t size, const struct elf_policy *policy,
                   const char *code)
{
    struct error err;
    const char *got = verdict_of(data, size, policy, &err);
    cr_expect_str_eq(got, code, "%s: %s (%s), expected %s", what, got, err.message, code);
}

/* --- modules that are fine ------------------------------------------------------------------- */

static const struct {
    const char *name, *needs, *command;
} good[] = {
    {"gcc", "gcc", GCC "@D/counter.c"},
    {"gcc-O0", "gcc", "gcc -O0 -g " SHARED "@I -o @O @D/counter.c"},
    {"gcc-sysv", "gcc", GCC "@D/counter.c -Wl,--hash-style=sysv"},
    {"gcc-both", "gcc", GCC "@D/counter.c -Wl,--hash-style=both"},
    {"gcc-dense", "gcc", GCC "@D/counter.c -Wl,-z,noseparate-code"},
    {"gcc-relr", "gcc", GCC "@D/counter.c -Wl,-z,pack-relative-relocs"},
    {"gcc-strip", "gcc", GCC "@D/counter.c -s"},
    {"gcc-lto", "gcc", GCC "@D/counter.c -flto"},
    {"gcc-asan", "gcc", GCC "@D/counter.c -fsanitize=undefined -fsanitize-undefined-trap-on-error"},
    {"g++", "g++", "g++ -O2 " SHARED "@I -o @O -x c++ @D/counter.c"},
    {"clang", "clang", "clang -O2 " SHARED "@I -o @O @D/counter.c"},
    {"clang++", "clang++", "clang++ -O2 " SHARED "@I -o @O -x c++ @D/counter.c"},
    {"tcc", "tcc", "tcc -c -fPIC @I -o @O.o @D/counter.c && ld -shared -z noexecstack -o @O @O.o"},
};

Test(elf, reads_modules_of_every_compiler)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!modules_have(good[i].needs))
            continue;
        _cleanup_free_ char *data = NULL;
        size_t size = modules_build(good[i].name, good[i].command, &data);
        _cleanup_arena_ struct arena *a = arena_new();
        struct elf_info info;
        struct error err = ERROR_INIT;
        struct guarded g = guarded_new(data, size);
        int r = elf_verify(a, g.data, g.size, &any, &info, &err);
        guarded_free(&g);
        cr_assert_eq(r, 0, "%s: %s", good[i].name, err.message);
        cr_expect_str_eq(info.name, "counter", "%s", good[i].name);
        cr_expect_str_eq(info.label, "", "%s", good[i].name);
        cr_expect_eq(info.abi.state_schema, 2);
        cr_expect_eq(info.abi.state_schema_min, 1);
        cr_expect_eq(info.abi.flags, CLOCHE_DETERMINISTIC);
        cr_expect_eq(info.abi.module_size, sizeof(struct cloche_module));
        cr_expect(info.has_save_state && info.has_load_state && info.has_migrate);
        cr_expect_not(info.has_health || info.has_extensions);
    }
}

Test(elf, lists_imports_libraries_and_label)
{
    _cleanup_free_ char *data = NULL;
    size_t size = modules_build_text(
        "imports.so", "-lm",
        "#include <cloche/module.h>\n#include <math.h>\n#include <stdlib.h>\n"
        "static int h(void *s, const struct cloche_request *q, struct cloche_reply *r)"
        "{ return system((const char *)q->data) + (int)lgamma((double)q->size); }\n"
        "CLOCHE_MODULE(\"imports\", .label = \"for people\", .init = cloche_no_init, .handle = h);",
        &data);
    _cleanup_arena_ struct arena *a = arena_new();
    struct elf_info info;
    struct error err = ERROR_INIT;
    cr_assert_eq(elf_inspect(a, data, size, &info, &err), 0, "%s", err.message);
    cr_expect_str_eq(info.label, "for people");
    cr_assert_eq(info.needed.count, 2);
    cr_expect_str_eq(info.needed.items[0], "libm.so.6");
    cr_expect_str_eq(info.needed.items[1], "libc.so.6");
    bool with_system = false, with_lgamma = false, weak_start = false;
    for (size_t i = 0; i < info.import_count; i++) {
        with_system |= strcmp(info.imports[i].name, "system") == 0 && !info.imports[i].weak;
        with_lgamma |= strcmp(info.imports[i].name, "lgamma") == 0;
        weak_start |= strcmp(info.imports[i].name, "__gmon_start__") == 0 && info.imports[i].weak;
    }
    cr_expect(with_system && with_lgamma && weak_start);
}

/* --- modules that are refused, each for its one reason --------------------------------------- */

#define HEAD "#include <cloche/module.h>\n"
#define HANDLE                                                                                     \
    "static int h(void *s, const struct cloche_request *q, struct cloche_reply *r)"                \
    "{ return 0; }\n"
#define PLAIN HEAD HANDLE "CLOCHE_MODULE(\"plain\", .init = cloche_no_init, .handle = h);"

static const struct {
    const char *name, *options, *source, *code;
} bad[] = {
    {"no-symbol", "", "int cloche_module_v2;", "verify.no_symbol"},
    {"hidden", "", "static int cloche_module_v1; int *f(void) { return &cloche_module_v1; }",
     "verify.no_symbol"},
    {"function", "", "__attribute__((visibility(\"default\"))) void cloche_module_v1(void) {}",
     "verify.no_symbol"},
    {"bss", "", "__attribute__((visibility(\"default\"))) char cloche_module_v1[4096];",
     "verify.truncated"},
    {"text", "", "__attribute__((visibility(\"default\"))) char cloche_module_v1[200] = \"hello\";",
     "verify.magic"},
    {"no-handle", "", HEAD "CLOCHE_MODULE(\"plain\", .init = cloche_no_init);",
     "verify.incomplete"},
    {"no-init", "", HEAD HANDLE "CLOCHE_MODULE(\"plain\", .handle = h);", "verify.incomplete"},
    {"no-save", "",
     HEAD HANDLE "CLOCHE_MODULE_WITH(\"plain\", 0, 1, 1, .init = cloche_no_init, .handle = h);",
     "verify.incomplete"},
    {"schemas", "",
     HEAD HANDLE "CLOCHE_MODULE_WITH(\"plain\", 0, 1, 2, .init = cloche_no_init, .handle = h);",
     "verify.abi"},
    {"flags", "",
     HEAD HANDLE "CLOCHE_MODULE_WITH(\"plain\", 64, 0, 0, .init = cloche_no_init, .handle = h);",
     "verify.abi"},
    {"bad-name", "", HEAD HANDLE "CLOCHE_MODULE(\"../etc\", .init = cloche_no_init, .handle = h);",
     "verify.name"},
    {"null-name", "", HEAD HANDLE "CLOCHE_MODULE(0, .init = cloche_no_init, .handle = h);",
     "verify.name"},
    {"other-name", "", HEAD HANDLE "CLOCHE_MODULE(\"other\", .init = cloche_no_init, .handle = h);",
     "verify.name"},
    {"rpath", "-Wl,-rpath,/tmp", PLAIN, "verify.runpath"},
    {"runpath", "-Wl,--enable-new-dtags,-rpath,/tmp", PLAIN, "verify.runpath"},
    {"exec-stack", "-Wl,-z,execstack", PLAIN, "verify.exec_stack"},
    {"filter", "-Wl,--filter,libfoo.so", PLAIN, "verify.library"},
    {"audit", "-Wl,--audit,libfoo.so", PLAIN, "verify.library"},
    {"undefined", "-Wl,-z,undefs",
     HEAD "int nowhere_to_be_found(void);\n"
          "static int h(void *s, const struct cloche_request *q, struct cloche_reply *r)"
          "{ return nowhere_to_be_found(); }\n"
          "CLOCHE_MODULE(\"plain\", .init = cloche_no_init, .handle = h);",
     "verify.undefined"},
    {"unlinked", "-Wl,-z,undefs",
     HEAD "double lgamma(double);\n"
          "static int h(void *s, const struct cloche_request *q, struct cloche_reply *r)"
          "{ return (int)lgamma((double)q->size); }\n"
          "CLOCHE_MODULE(\"plain\", .init = cloche_no_init, .handle = h);",
     "verify.undefined"},
    {"denied", "",
     HEAD "int system(const char *);\n"
          "static int h(void *s, const struct cloche_request *q, struct cloche_reply *r)"
          "{ return system((const char *)q->data); }\n"
          "CLOCHE_MODULE(\"plain\", .init = cloche_no_init, .handle = h);",
     "verify.symbol"},
    {"plain", "", PLAIN, "ok"},
};

Test(elf, refuses_with_one_reason)
{
    char *items[] = {(char[]){"exec*"}, (char[]){"system"}, NULL};
    struct strings denied = {.items = items, .count = 2};
    struct error err = ERROR_INIT;
    struct elf_exports *exports = elf_exports_new("/", &err);
    cr_assert_not_null(exports, "%s", err.message);
    struct elf_policy policy = {
        .name = "plain", .file = "m.so", .deny_symbols = &denied, .exports = exports};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        _cleanup_free_ char *data = NULL;
        size_t size = modules_build_text(bad[i].name, bad[i].options, bad[i].source, &data);
        expect(bad[i].name, data, size, &policy, bad[i].code);
    }
    elf_exports_free(exports);
}

Test(elf, names_what_it_refuses)
{
    _cleanup_free_ char *data = NULL;
    size_t size = modules_build_text("names.so", "", PLAIN, &data);
    struct error err;
    struct elf_policy policy = {.name = "price", .file = "out/price.so"};
    cr_assert_str_eq(verdict_of(data, size, &policy, &err), "verify.name");
    cr_expect_str_eq(err.message, "out/price.so: is module \"plain\", not \"price\"");
    cr_expect_str_eq(err.path, "out/price.so");
    policy = (struct elf_policy){.file = "m.so", .size_cap_bytes = 100};
    cr_assert_str_eq(verdict_of(data, size, &policy, &err), "verify.size");
    cr_expect_not_null(strstr(err.message, "the cap is 100"));
}

Test(elf, forbids_libraries)
{
    char *none = NULL, *data = NULL;
    modules_build("libother.so",
                  "echo 'int other(void) { return 1; }' | gcc -fPIC -shared -x c - "
                  "-Wl,-soname,libother.so -o @O",
                  &none);
    free(none);
    char command[4096];
    snprintf(command, sizeof command,
             "printf '%%s' '%s' | " GCC "-x c - -x none -Wl,--no-as-needed %s/libother.so", PLAIN,
             modules_dir());
    size_t size = modules_build("needs-other", command, &data);
    expect("default", data, size, &any, "verify.library");

    char *items[] = {(char[]){"libother.so"}, (char[]){"libc.so.?"}, NULL};
    struct strings allowed = {.items = items, .count = 2};
    struct elf_policy policy = {.file = "m.so", .allow_libraries = &allowed};
    expect("allowed", data, size, &policy, "ok");

    struct error err = ERROR_INIT;
    policy.exports = elf_exports_new("/", &err);
    expect("allowed but absent", data, size, &policy, "verify.library");
    elf_exports_free(policy.exports);
    free(data);
}

Test(elf, refuses_what_is_no_shared_object)
{
    _cleanup_free_ char *object = NULL, *pie = NULL, *tcc = NULL;
    size_t size = modules_build("plain.o", "gcc @I -fPIC -c -o @O @D/counter.c", &object);
    expect("object file", object, size, &any, "verify.type");
    size = modules_build("pie",
                         "(cat @D/counter.c; echo 'int main(void){return 0;}') | "
                         "gcc @I -pie -fPIE -rdynamic -o @O -x c -",
                         &pie);
    expect("position independent executable", pie, size, &any, "verify.type");
    if (modules_have("tcc")) {
        size = modules_build("tcc.so", "tcc -shared -fPIC @I -o @O @D/counter.c", &tcc);
        expect("tcc -shared", tcc, size, &any, "verify.exec_stack");
    }
    expect("nothing", "", 0, &any, "verify.truncated");
    expect("text", "hello, world, this is not an ELF file", 37, &any, "verify.garbage");
    expect("script", "#!/bin/sh\n", 10, &any, "verify.garbage");
    expect("only a magic", ELFMAG, 4, &any, "verify.truncated");
}

/* --- bytes changed by hand ------------------------------------------------------------------- */

static size_t find_abi(const char *data, size_t size)
{
    uint32_t magic = CLOCHE_MODULE_MAGIC;
    const char *at = memmem(data, size, &magic, sizeof magic);
    cr_assert_not_null(at);
    return (size_t)(at - data);
}

static const struct {
    const char *name;
    size_t offset;
    unsigned char value;
    bool in_abi;
    const char *code;
} patches[] = {
    {"class", EI_CLASS, ELFCLASS32, false, "verify.class"},
    {"byte order", EI_DATA, ELFDATA2MSB, false, "verify.class"},
    {"machine", offsetof(Elf64_Ehdr, e_machine), EM_ARM, false, "verify.machine"},
    {"type", offsetof(Elf64_Ehdr, e_type), ET_CORE, false, "verify.type"},
    {"no segments", offsetof(Elf64_Ehdr, e_phnum), 0, false, "verify.garbage"},
    {"segments past the end", offsetof(Elf64_Ehdr, e_phoff) + 4, 1, false, "verify.truncated"},
    {"writable code", sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + 4, PF_R | PF_W | PF_X, false,
     "verify.rwx"},
    {"magic", offsetof(struct cloche_abi, magic), 'X', true, "verify.magic"},
    {"major", offsetof(struct cloche_abi, major), 2, true, "verify.major"},
    {"minor", offsetof(struct cloche_abi, minor), 9, true, "verify.minor"},
    {"module size", offsetof(struct cloche_abi, module_size), 8, true, "verify.abi"},
    {"huge module", offsetof(struct cloche_abi, module_size) + 3, 0x7f, true, "verify.abi"},
    {"pointers", offsetof(struct cloche_abi, pointer_size), 4, true, "verify.abi"},
    {"long", offsetof(struct cloche_abi, long_size), 4, true, "verify.abi"},
    {"endianness", offsetof(struct cloche_abi, little_endian), 0, true, "verify.abi"},
    {"libc", offsetof(struct cloche_abi, libc), 2, true, "verify.abi"},
    {"reserved", offsetof(struct cloche_abi, reserved), 1, true, "verify.abi"},
};

Test(elf, refuses_patched_headers)
{
    _cleanup_free_ char *data = NULL;
    size_t size = modules_build("patched.so", GCC "@D/counter.c", &data);
    size_t abi = find_abi(data, size);
    for (size_t i = 0; i < sizeof patches / sizeof *patches; i++) {
        size_t at = patches[i].offset + (patches[i].in_abi ? abi : 0);
        char kept = data[at];
        data[at] = (char)patches[i].value;
        expect(patches[i].name, data, size, &any, patches[i].code);
        data[at] = kept;
    }
    expect("unpatched", data, size, &any, "ok");
}

/* Every prefix of a module is refused or, once only section headers are missing, the same module.
 */
Test(elf, truncated_at_every_offset)
{
    static const char *const commands[] = {GCC "@D/counter.c",
                                           GCC "@D/counter.c -Wl,-z,pack-relative-relocs"};
    for (size_t c = 0; c < 2; c++) {
        _cleanup_free_ char *data = NULL;
        size_t size = modules_build("truncated.so", commands[c], &data);
        size_t refused = 0;
        for (size_t n = 0; n < size; n++) {
            struct error err;
            const char *got = verdict_of(data, n, &any, &err);
            if (strcmp(got, "ok") == 0)
                break;
            refused++;
            cr_assert(strcmp(got, "verify.truncated") == 0 || n < 4, "at %zu: %s", n, got);
        }
        cr_expect_gt(refused, 8000);
        cr_expect_lt(refused, size, "the section headers do not matter");
    }
}

/* No flipped byte makes the reader leave the file (the guard page would tell), loop, or refuse
 * without a reason. */
Test(elf, survives_every_flipped_byte)
{
    static const char *const commands[] = {
        GCC "@D/counter.c -s", GCC "@D/counter.c -s -Wl,--hash-style=sysv -Wl,-z,noseparate-code",
        GCC "@D/counter.c -s -Wl,-z,pack-relative-relocs"};
    for (size_t c = 0; c < 3; c++) {
        _cleanup_free_ char *data = NULL;
        size_t size = modules_build("flipped.so", commands[c], &data), refused = 0;
        struct guarded g = guarded_new(data, size);
        for (size_t at = 0; at < size; at++) {
            static const unsigned char masks[] = {0xff, 0x01, 0x80, 0x10};
            for (size_t k = 0; k < sizeof masks; k++) {
                _cleanup_arena_ struct arena *a = arena_new();
                struct elf_info info;
                struct error err = ERROR_INIT;
                g.data[at] ^= masks[k];
                if (elf_verify(a, g.data, g.size, &any, &info, &err) < 0) {
                    refused++;
                    cr_assert(strncmp(err.code, "verify.", 7) == 0 && err.message[0] != '\0');
                }
                g.data[at] ^= masks[k];
            }
        }
        cr_expect_gt(refused, 500);
        guarded_free(&g);
    }
}

static uint64_t random_next(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    return *s ^= *s << 17;
}

Test(elf, survives_random_damage)
{
    _cleanup_free_ char *data = NULL;
    size_t size = modules_build("damaged.so", GCC "@D/counter.c -s", &data);
    struct guarded g = guarded_new(data, size);
    uint64_t seed = 88172645463325252ULL;
    for (int round = 0; round < 20000; round++) {
        _cleanup_arena_ struct arena *a = arena_new();
        struct elf_info info;
        memcpy(g.data, data, size);
        for (unsigned i = 0, n = 1 + (unsigned)(random_next(&seed) % 8); i < n; i++) {
            /* half of the damage in headers and tables, whole words of tempting values */
            static const uint64_t words[] = {0,          1,          8,          0x1000,
                                             0xffff,     0x7fffffff, 0xfffffff8, UINT64_MAX,
                                             1ULL << 47, 1ULL << 63};
            size_t range = random_next(&seed) % 2 == 0 ? 0x600 : size - 8;
            size_t at = random_next(&seed) % range;
            uint64_t word = words[random_next(&seed) % 10];
            memcpy(g.data + at, &word, 1u << random_next(&seed) % 4);
        }
        struct error err = ERROR_INIT;
        if (elf_verify(a, g.data, g.size, &any, &info, &err) < 0)
            cr_assert(strncmp(err.code, "verify.", 7) == 0);
    }
    guarded_free(&g);
}

/* --- files ----------------------------------------------------------------------------------- */

Test(elf, reads_files_of_bounded_size_only)
{
    void *data = NULL;
    size_t size;
    struct error err = ERROR_INIT;
    int big = memfd_create("big", MFD_CLOEXEC), pipes[2];
    cr_assert_eq(ftruncate(big, 200 << 20), 0);
    cr_expect_eq(elf_read_file(big, &any, &data, &size, &err), -1);
    cr_expect_str_eq(err.code, "verify.size");
    cr_assert_eq(pipe(pipes), 0);
    cr_expect_eq(elf_read_file(pipes[0], &any, &data, &size, &err), -1);
    cr_expect_str_eq(err.code, "verify.garbage");
    int dir = open("/", O_RDONLY | O_CLOEXEC);
    cr_expect_eq(elf_read_file(dir, &any, &data, &size, &err), -1);
    cr_expect_str_eq(err.code, "verify.garbage");
    cr_assert_eq(ftruncate(big, 3), 0);
    cr_assert_eq(elf_read_file(big, &any, &data, &size, &err), 0);
    cr_expect_eq(size, 3);
    free(data);
}

static char *text_of(const char *path)
{
    char *text = NULL;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0 && io_read_to_end(fd, 1 << 20, &text) > 0, "%s", path);
    return text;
}

/* the header by itself, and a module of it, under the strictest words of both languages */
Test(elf, header_is_clean_c_and_cpp)
{
    static const struct {
        const char *needs, *command;
    } checks[] = {
        {"gcc", "gcc -std=c11 -xc"},
        {"clang", "clang -std=c11 -Weverything -Wno-padded -Wno-documentation-unknown-command -xc"},
        {"g++", "g++ -std=c++11 -xc++"},
        {"g++", "g++ -std=c++20 -xc++"},
        {"clang++", "clang++ -std=c++11 -xc++"},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        char command[2048];
        snprintf(command, sizeof command,
                 "echo '#include <cloche/module.h>' | %s - -pedantic -Wall -Wextra -Wshadow "
                 "-Wcast-qual -Werror -fsyntax-only -I%s/include",
                 checks[i].command, modules_dir());
        if (modules_have(checks[i].needs))
            cr_expect_eq(system(command), 0, "%s", command);
    }
    static const char *const languages[] = {"gcc -std=c11", "g++ -std=c++20 -xc++"};
    for (size_t i = 0; i < 2; i++) {
        char command[2048];
        snprintf(command, sizeof command,
                 "%s -pedantic -Wall -Wextra -Werror -Wno-unused-parameter "
                 "-Wno-missing-field-initializers -fsyntax-only -I%s/include "
                 "tests/unit/modules/counter.c",
                 languages[i], modules_dir());
        cr_expect_eq(system(command), 0, "%s", command);
    }
}

/* What the README shows is what is compiled here, and as small as it promises. */
Test(elf, readme_shows_the_tested_modules)
{
    static const struct {
        const char *path;
        int lines;
    } files[] = {{"tests/unit/modules/smallest.c", 9},
                 {"tests/unit/modules/counter.c", 30},
                 {"tests/unit/modules/table.c", 45}};
    _cleanup_free_ char *readme = text_of("versions/README.md");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        _cleanup_free_ char *source = text_of(files[i].path);
        int lines = 0;
        for (const char *p = source; *p != '\0'; p++)
            lines += *p == '\n';
        cr_expect_leq(lines, files[i].lines, "%s has %d lines", files[i].path, lines);
        cr_expect_not_null(strstr(readme, source), "the README has another %s", files[i].path);
    }
}

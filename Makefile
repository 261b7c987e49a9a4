# Cloche. `make help` lists the targets. A file becomes part of a program by its folder.

CC      ?= gcc
ifeq ($(origin CC),default)
CC      := gcc
endif
BUILD   ?= build
PREFIX  ?= /usr/local
VERSION := 0.1.0

WARN := -Wall -Wextra -Wpedantic -Wno-gnu-zero-variadic-macro-arguments -Wshadow -Wstrict-prototypes \
        -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings \
        -Wformat=2 -Wundef -Wvla -Wswitch-enum -Wredundant-decls -Wnested-externs -Winit-self \
        -Wfloat-equal -Wimplicit-fallthrough -Wnull-dereference -Wdouble-promotion -Wunused \
        -Wdate-time -Werror
# statement expressions, empty initialisers, rows of tables that stop early and typeof are the house style
WARN += -Wno-pedantic -Wno-missing-field-initializers
ifneq (,$(findstring clang,$(CC)))
WARN += -Wno-gnu-statement-expression
endif

OPT      ?= -O2 -g
CPPFLAGS += -I. -I$(BUILD)/gen -D_GNU_SOURCE -DCLOCHE_VERSION='"$(VERSION)"' \
            -DCLOCHE_BINDIR='"$(PREFIX)/bin"'
CFLAGS   += -std=gnu11 $(OPT) $(WARN) -fvisibility=hidden -fstack-protector-strong -fno-common \
            -fno-strict-aliasing -MMD -MP $(SANITIZE)
ifeq (,$(SANITIZE))
CPPFLAGS += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
endif
LDFLAGS  += -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed $(SANITIZE)

# Everything but libc and cJSON is linked from its archive: a start of `cloche run` pays 0.25 ms less
# than with five more shared objects, and only touched pages are ever read.
LIBS := -l:libseccomp.a -l:libcap.a -l:libnl-route-3.a -l:libnl-3.a -l:libnettle.a -lcjson -lpthread -lm
NLINC := $(shell pkg-config --cflags libnl-3.0 2>/dev/null || echo -I/usr/include/libnl3)
CPPFLAGS += $(NLINC)

ifneq (,$(SANITIZE))
ifeq (,$(findstring clang,$(CC)))
WARN += -Wno-format-truncation -Wno-maybe-uninitialized # the sanitizers' own checks confuse them
endif
endif
# for the commands that build first: all cores, unless the caller said how many
JOBS = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

# one short line a file; V=1 shows the commands, -s nothing
Q := $(if $(V),,@)
say = $(if $(V)$(findstring s,$(firstword -$(MAKEFLAGS))),,@printf '  %-4s %s\n' '$(1)' '$(2)')

sources = $(sort $(foreach d,$(1),$(wildcard $(d)/*.c)))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

CORE_SRC   := $(call sources,base config isolation compiler)
CLI_SRC    := $(call sources,runtime runtime/cli runtime/judge)
EMBEDDED   := $(sort $(wildcard config/profiles/*.json config/seccomp/*.json config/toolchains/*.json)) $(wildcard versions/module.h)
CORE_OBJ   := $(call objects,$(CORE_SRC)) $(BUILD)/obj/builtin.o
CORE       := $(BUILD)/libcore.a
# apart from the core because it brings SQLite, which `cloche run` must not load
VERSIONS   := $(BUILD)/libversions.a
VERSIONS_LIBS := -lsqlite3

# As a file was written the kernel keeps it in memory: when that was at once, in few large pieces, which are mapped and
# unmapped as one. Linkers write in small ones. A start with cold caches takes 3 % less for it.
AT_ONCE = $(Q)dd if=$@ of=$@.new bs=16M status=none && chmod 755 $@.new && mv -f $@.new $@

all: $(BUILD)/cloche $(BUILD)/cloche-complete $(BUILD)/cloche-keeper $(BUILD)/cloche-worker $(BUILD)/libcloche.so \
     $(BUILD)/libcloche.a $(BUILD)/cloche.pc

# libsystemd stays out of it: runtime/keeper/loop.h says why
KEEPER_SRC := $(call sources,runtime/keeper) runtime/protocol.c runtime/audit.c runtime/orphan.c runtime/mailbox.c runtime/worker/wire.c
# SQLite from its archive: a keeper without modules never touches its pages
$(BUILD)/cloche-keeper: $(call objects,$(KEEPER_SRC)) $(VERSIONS) $(CORE)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -l:libsqlite3.a $(LIBS)
	$(AT_ONCE)

# what runs a module, inside: needs nothing but libc
$(BUILD)/cloche-worker: $(call objects,$(call sources,runtime/worker) runtime/mailbox.c versions/state.c versions/state_arena.c base/error.c \
    base/io.c base/packet.c $(if $(SANITIZE),tests/sanitizers/worker.c))
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -Wl,--gc-sections -o $@ $^
	$(AT_ONCE)

$(BUILD)/cloche-complete: $(call objects,$(CLI_SRC)) $(CORE)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
	$(AT_ONCE)

$(CORE): $(CORE_OBJ) $(BUILD)/obj/toolchains.o
	@rm -f $@
	$(Q)ar rcs $@ $^

# runtime/cloche.h for C programs: link with it and $(LIBS), or with libcloche.so
$(BUILD)/libcloche.a: $(call objects,$(call sources,runtime runtime/judge)) $(CORE_OBJ) $(BUILD)/obj/toolchains.o
	@rm -f $@
	$(Q)ar rcs $@ $^

# what tests link of the long-lived side
PARTS      := $(BUILD)/libparts.a
$(PARTS): $(call objects,runtime/protocol.c runtime/quota.c runtime/mailbox.c runtime/worker/wire.c $(addprefix runtime/keeper/,supervise.c monitor.c loop.c \
    watcher.c))
	@rm -f $@
	$(Q)ar rcs $@ $^

$(VERSIONS): $(call objects,$(call sources,versions))
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/obj/%.o: %.c | $(BUILD)/gen
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# The start program: the same sources without cJSON, libseccomp, libnl and sd-bus, static with musl, which
# is ready 0.7 ms earlier (runtime/start/hand_over.c). Sanitizers need the complete program instead.
START_CC   ?= musl-gcc
START_SRC  := $(call sources,base runtime/start) \
              $(addprefix config/,spec.c names.c parse.c validate.c mount_options.c problems.c builtin.c oci_write.c json_scan.c) \
              $(filter-out isolation/doctor.c isolation/net_bridge.c isolation/cgroup_systemd.c \
                  isolation/cgroup_doctor.c isolation/cgroup_throttle.c isolation/seccomp_compile.c isolation/seccomp_compact.c \
                  isolation/seccomp_list.c isolation/seccomp_cache.c \
                  isolation/spawn.c isolation/serve.c isolation/guard.c,$(wildcard isolation/*.c)) \
              $(addprefix runtime/,client.c client_sandboxes.c launch.c protocol.c quota.c spec_main_child.c) \
              $(addprefix runtime/cli/,run.c exec.c create.c options.c sandbox_options.c report.c output.c)
START_OBJ  := $(patsubst %.c,$(BUILD)/start/%.o,$(START_SRC)) $(BUILD)/start/builtin.o $(BUILD)/start/compiled.o
START_FLAGS = -std=gnu11 -O2 -g $(filter-out -Wno-gnu%,$(WARN)) -fvisibility=hidden -fstack-protector-strong -fno-common \
              -fno-strict-aliasing -MMD -MP -I. -I$(BUILD)/gen -D_GNU_SOURCE -DCLOCHE_VERSION='"$(VERSION)"' \
              -DCLOCHE_COMPLETE='"cloche-complete"' -DCLOCHE_BINDIR='"$(PREFIX)/bin"' -idirafter /usr/include -idirafter /usr/include/$(MULTIARCH)
MULTIARCH  := $(shell gcc -print-multiarch)
ifeq (,$(SANITIZE))
$(BUILD)/cloche: $(START_OBJ)
	$(call say,LD,$@)
	$(Q)$(START_CC) -static -no-pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections -o $@ $^ \
	    /usr/lib/$(MULTIARCH)/libcap.a
	$(AT_ONCE)
else
$(BUILD)/cloche: $(BUILD)/cloche-complete
	$(Q)ln -sf cloche-complete $@
endif
$(BUILD)/start/%.o: %.c $(BUILD)/gen/syscall_names.h
	@mkdir -p $(@D)
	$(call say,CC,$< (start))
	$(Q)$(START_CC) $(START_FLAGS) -c -o $@ $<
$(BUILD)/start/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(Q)$(START_CC) $(START_FLAGS) -c -o $@ $<

# built-in profiles, filters and toolchains as code, printed by the one reader there is
$(BUILD)/precompile: runtime/start/tools/precompile.c $(CORE_OBJ)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/gen/compiled.c: $(BUILD)/precompile
	$(Q)HOME=/dev/null XDG_CONFIG_HOME=/dev/null $(BUILD)/precompile > $@.new && mv $@.new $@
$(BUILD)/gen/toolchains.c: $(BUILD)/precompile
	$(Q)HOME=/dev/null XDG_CONFIG_HOME=/dev/null $(BUILD)/precompile toolchains > $@.new && mv $@.new $@
$(BUILD)/gen/syscall_names.h: | $(BUILD)/gen
	$(Q)echo '#include <asm/unistd.h>' | gcc -E -dM - | \
	    awk '$$2 ~ /^__NR_/ && $$3 ~ /^[0-9]+$$/ { sub("__NR_", "", $$2); printf "    [%s] = \"%s\",\n", $$3, $$2 }' > $@
$(BUILD)/obj/isolation/seccomp_names.o: $(BUILD)/gen/syscall_names.h

# config/*.json, compiled in with their digests
$(BUILD)/gen/builtin.c: $(EMBEDDED) config/embed.sh | $(BUILD)/gen
	$(Q)config/embed.sh $(EMBEDDED) > $@.new && mv $@.new $@
$(BUILD)/obj/builtin.o $(BUILD)/obj/toolchains.o: $(BUILD)/obj/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(BUILD)/gen:
	@mkdir -p $@

# --- libcloche as a shared object: everything but cloche_* is hidden --------------------------------------
LIB_SRC := $(call sources,base config isolation compiler runtime runtime/judge)
LIB_OBJ := $(patsubst %.c,$(BUILD)/pic/%.o,$(LIB_SRC)) $(BUILD)/pic/builtin.o $(BUILD)/pic/toolchains.o
$(BUILD)/pic/isolation/seccomp_names.o: $(BUILD)/gen/syscall_names.h
$(BUILD)/pic/%.o: %.c | $(BUILD)/gen
	@mkdir -p $(@D)
	$(call say,CC,$< (pic))
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -c -o $@ $<
$(BUILD)/pic/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -c -o $@ $<
$(BUILD)/libcloche.so: $(LIB_OBJ) runtime/cloche.map
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,libcloche.so.0 -Wl,--version-script=runtime/cloche.map -o $@ $(LIB_OBJ) \
	    $(patsubst -l:lib%.a,-l%,$(LIBS))
	$(Q)ln -sf libcloche.so $(BUILD)/libcloche.so.0
# what says where it will be installed is made anew when that is another place
$(BUILD)/prefix: always
	@mkdir -p $(@D)
	@echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' > $@
$(foreach d,obj pic start,$(BUILD)/$(d)/runtime/launch.o): $(BUILD)/prefix

$(BUILD)/cloche.pc: Makefile $(BUILD)/prefix
	@mkdir -p $(@D)
	$(Q)printf '%s\n' 'Name: cloche' 'Description: sandboxes for untrusted native code' 'Version: $(VERSION)' \
	    'Cflags: -I$(PREFIX)/include' 'Libs: -L$(PREFIX)/lib -lcloche' 'Libs.private: $(patsubst -l:lib%.a,-l%,$(LIBS))' > $@

# --- tests -----------------------------------------------------------------------------------------------
UNIT_SRC := $(wildcard tests/unit/*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SRC))
unit-bins: $(UNIT_BIN)
$(BUILD)/tests/unit/test_start: $(BUILD)/obj/compiled.o
$(BUILD)/obj/compiled.o: $(BUILD)/gen/compiled.c
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(PARTS) $(VERSIONS) $(CORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) $(VERSIONS_LIBS) -lcriterion

include $(wildcard tests/*/rules.mk)

test: ## install what tests need, build, run everything (SUITES="unit e2e ..." picks)
	tests/deps build test vm
	$(MAKE) $(JOBS) all unit-bins test-bins
	tests/run $(SUITES)

test-bins:

quickstart: ## install what is missing, build, do the main job and show its result
	tests/deps build
	$(MAKE) $(JOBS) all
	examples/quickstart

bench: ## measure side by side with the real peers that are there (tests/deps peers vm: all of them)
	tests/deps build bench
	$(MAKE) $(JOBS) all test-bins
	tests/bench/run

vmtest: ## the suites on a kernel with pure cgroup v2
	tests/deps build test vm
	$(MAKE) $(JOBS) all unit-bins test-bins
	tests/run vm

# A finding of either ends the program. Undefined behaviour traps, for the address sanitizer to report: gcc's other runtime prints
# where nobody looks.
ASAN := -fsanitize=address,undefined -fsanitize-undefined-trap-on-error -fno-omit-frame-pointer
asan: ## address and undefined behaviour sanitizers over unit, e2e and attacks
	tests/deps build test
	$(MAKE) $(JOBS) BUILD=build-asan OPT="-O1 -g" SANITIZE="$(ASAN)" all unit-bins test-bins
	tests/sanitizers/run

soak: ## by hand: 10000 runs and 300 killed ones, 10000 long-lived sandboxes, 1000 alive, long chaos: nothing is left
	tests/deps build test
	$(MAKE) $(JOBS) all test-bins
	tests/soak
	tests/chaos/soak
	tests/stress/soak

# --- checks ----------------------------------------------------------------------------------------------
# hostile programs for the compiler, submissions and diagnostics are material, not sources
MATERIAL := tests/corpus/% tests/compile/attacks/% $(addsuffix /%,$(wildcard tests/judge/*/submissions))
C_FILES := $(filter-out $(MATERIAL),$(shell git ls-files '*.c' '*.h' 2>/dev/null))
SOURCES := $(filter-out tests/% examples/%,$(filter %.c,$(C_FILES)))
check: ## format, clang-tidy, cppcheck, layers, both compilers
	tests/deps build check
	$(MAKE) check-format check-layers check-cppcheck check-compilers check-tidy
check-format:
	clang-format --dry-run -Werror $(C_FILES)
format: ## rewrite the sources as .clang-format says
	clang-format -i $(C_FILES)
check-layers:
	tests/check-layers
check-cppcheck:
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	    --suppress=missingIncludeSystem -j2 -I. -D_GNU_SOURCE -D__GNUC__ '-DcJSON_ArrayForEach(e,a)=while((e)=(a))' $(SOURCES)
check-compilers: # with gcc where the tests look for it
	$(MAKE) $(JOBS) CC=gcc all
	$(MAKE) $(JOBS) BUILD=build-clang CC=clang all
check-tidy: # a file again when it or any header has changed
	$(MAKE) -k $(JOBS) -Otarget $(patsubst %.c,$(BUILD)/tidy/%,$(SOURCES))
$(BUILD)/tidy/%: %.c $(filter %.h,$(C_FILES)) .clang-tidy $(BUILD)/gen/syscall_names.h
	@mkdir -p $(@D)
	$(call say,TIDY,$<)
	$(Q)clang-tidy --quiet $< -- $(CPPFLAGS) -DCLOCHE_COMPLETE='"cloche-complete"' -DCLOCHE_BINDIR='"$(PREFIX)/bin"' -std=gnu11 && touch $@

install: all ## PREFIX=/usr/local, DESTDIR
	install -D -m 755 $(BUILD)/cloche $(DESTDIR)$(PREFIX)/bin/cloche
	install -D -m 755 $(BUILD)/cloche-complete $(DESTDIR)$(PREFIX)/bin/cloche-complete
	install -D -m 755 $(BUILD)/cloche-keeper $(DESTDIR)$(PREFIX)/bin/cloche-keeper
	install -D -m 755 $(BUILD)/cloche-worker $(DESTDIR)$(PREFIX)/bin/cloche-worker
	install -D -m 755 $(BUILD)/libcloche.so $(DESTDIR)$(PREFIX)/lib/libcloche.so.0
	ln -sf libcloche.so.0 $(DESTDIR)$(PREFIX)/lib/libcloche.so
	install -D -m 644 $(BUILD)/libcloche.a $(DESTDIR)$(PREFIX)/lib/libcloche.a
	install -D -m 644 $(BUILD)/cloche.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/cloche.pc
	install -D -m 644 runtime/cloche.h $(DESTDIR)$(PREFIX)/include/cloche.h
	install -D -m 644 versions/module.h $(DESTDIR)$(PREFIX)/include/cloche/module.h

clean: ## remove what was built
	rm -rf build build-*

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n",$$1,$$2}' $(filter Makefile %.mk,$(MAKEFILE_LIST))

.PHONY: all always test test-bins unit-bins quickstart bench vmtest asan soak check check-format format check-layers \
        check-cppcheck check-compilers check-tidy install clean help
.SECONDARY:

-include $(shell find $(BUILD)/obj $(BUILD)/pic $(BUILD)/start -name '*.d' 2>/dev/null)

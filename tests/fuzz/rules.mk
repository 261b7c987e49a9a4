# Fuzzers: tests/fuzz/fuzz_<name>.c, libFuzzer with the address and undefined sanitizers over every source of ours. They
# are built by a make of their own, because all objects need clang's instrumentation.
FUZZ_BUILD := $(BUILD)/fuzzing
FUZZ_SECONDS ?= 600
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))

ifeq (,$(SANITIZE))
test-bins: fuzz-bins
endif
fuzz-bins:
	+@$(MAKE) --no-print-directory BUILD=$(FUZZ_BUILD) CC=clang OPT="-O1 -g" \
	    SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer" \
	    fuzz-programs

fuzz-programs: $(FUZZ_BIN)
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(PARTS) $(VERSIONS) $(CORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS) $(VERSIONS_LIBS)

fuzz: ## search for inputs that break a parser: FUZZ_SECONDS=600 for each fuzzer, results in build/fuzz-corpus
	tests/deps build test
	$(MAKE) fuzz-bins
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_KEEP=$(BUILD)/fuzz-corpus tests/fuzz/run

.PHONY: fuzz fuzz-bins fuzz-programs

# Programs against the library's header alone.
LIBRARY_BIN := $(BUILD)/tests/library/grade $(BUILD)/tests/library/keep $(BUILD)/tests/library/modules
test-bins: $(LIBRARY_BIN)
$(BUILD)/tests/library/%: $(BUILD)/obj/tests/library/%.o $(BUILD)/libcloche.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

tsan: ## the library's threads under the thread sanitizer
	tests/deps build test
	$(MAKE) $(JOBS) all test-bins
	$(MAKE) $(JOBS) BUILD=build-tsan CC=clang OPT="-O1 -g" SANITIZE="-fsanitize=thread" build-tsan/tests/library/keep
	CLOCHE_KEEP=build-tsan/tests/library/keep tests/run e2e-root tests/e2e/library.bats

.PHONY: tsan

# Programs of the bench: the interleaving timer, the floor, the filter's times.
BENCH_BIN := $(BUILD)/tests/bench/interleave $(BUILD)/tests/bench/floor $(BUILD)/tests/bench/filter \
             $(BUILD)/tests/bench/calls
test-bins: $(BENCH_BIN)
$(BUILD)/tests/bench/filter: $(BUILD)/obj/tests/bench/filter.o $(CORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/bench/calls: $(BUILD)/obj/tests/bench/calls.o $(call objects,runtime/client_calls.c runtime/client.c runtime/quota.c) $(PARTS) $(CORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^
LIBRARY_BENCH := $(BUILD)/tests/bench/library $(BUILD)/tests/bench/modules
test-bins: $(LIBRARY_BENCH)
$(LIBRARY_BENCH): $(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/libcloche.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

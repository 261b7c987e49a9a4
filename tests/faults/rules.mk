test-bins: $(BUILD)/tests/faults/inject $(BUILD)/tests/faults/probe
$(BUILD)/tests/faults/inject: $(BUILD)/obj/tests/faults/inject.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lseccomp
$(BUILD)/tests/faults/probe: $(BUILD)/obj/tests/faults/probe.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -static -o $@ $^

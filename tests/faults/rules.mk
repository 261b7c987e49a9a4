test-bins: $(BUILD)/tests/faults/inject $(BUILD)/tests/faults/probe
$(BUILD)/tests/faults/inject: $(BUILD)/obj/tests/faults/inject.o
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -lseccomp
# static, so without the sanitizers, too
$(BUILD)/tests/faults/probe: tests/faults/probe.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(CPPFLAGS) $(filter-out -MMD -MP -fsanitize% -fno-omit%,$(CFLAGS)) -static -o $@ $<

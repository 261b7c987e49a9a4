test-bins: $(BUILD)/tests/guard
$(BUILD)/tests/guard: tests/lib/guard.c | $(BUILD)/gen
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $<

GUARD_SRC := tests/lib/guard.c tests/lib/leaks.c tests/lib/processes.c
test-bins: $(BUILD)/tests/guard
$(BUILD)/tests/guard: $(patsubst %.c,$(BUILD)/obj/%.o,$(GUARD_SRC))
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^

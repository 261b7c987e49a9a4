# Reloads under load, from outside: links what clients link.
test-bins: $(BUILD)/tests/stress/reloads
$(BUILD)/tests/stress/%: $(BUILD)/obj/tests/stress/%.o $(BUILD)/obj/tests/stress/held.o $(BUILD)/libcloche.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# The keeper as it is, but for what runs as init inside.
test-bins: $(BUILD)/tests/cloche-keeper-hostile
$(BUILD)/tests/cloche-keeper-hostile: $(BUILD)/obj/tests/chaos/hostile_init.o $(call objects,$(KEEPER_SRC)) $(VERSIONS) $(CORE)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -Wl,--wrap=serve_main -o $@ $^ -l:libsqlite3.a $(LIBS)

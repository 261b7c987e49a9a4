# A program against the library's header alone.
test-bins: $(BUILD)/tests/library/grade
$(BUILD)/tests/library/grade: $(BUILD)/obj/tests/library/grade.o $(BUILD)/libcloche.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

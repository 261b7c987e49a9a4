# The hostile programs: one small static program a file, so that they run in an empty root, too.
ATTACK_SRC := $(wildcard tests/attacks/*/*.c)
ATTACK_BIN := $(patsubst tests/attacks/%.c,$(BUILD)/tests/attacks/%,$(ATTACK_SRC))
ATTACK_CFLAGS := -std=gnu11 -O1 $(WARN) -D_GNU_SOURCE -I.

test-bins: attack-bins
attack-bins: $(ATTACK_BIN)

$(BUILD)/tests/attacks/%: tests/attacks/%.c tests/attacks/attack.h
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ATTACK_CFLAGS) -static -s -o $@ $< -lpthread

# Stands in for the dynamic linker of a hostile rootfs, where there is no libc yet to be set up.
$(BUILD)/tests/attacks/overwrite/interpreter: tests/attacks/overwrite/interpreter.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ATTACK_CFLAGS) -ffreestanding -fno-stack-protector -nostdlib -static -s -o $@ $<

.PHONY: attack-bins

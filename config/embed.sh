#!/bin/sh
# C source that carries the given files: config_builtin() and config_builtin_digest() look them up by the name below config/.
set -eu
echo '#include "config/builtin.h"'
i=0
for f; do
    printf '__asm__(".section .rodata\\nbuiltin_%d:\\n.incbin \\"%s\\"\\nbuiltin_%d_end:\\n.byte 0\\n.previous\\n");\n' $i "$f" $i
    printf 'extern const char builtin_%d[], builtin_%d_end[];\n' $i $i
    i=$((i + 1))
done
echo 'const struct builtin_file builtin_files[] = {'
i=0
for f; do
    digest=$(sha256sum <"$f")
    printf '    {"%s", builtin_%d, builtin_%d_end, "%s"},\n' "${f#config/}" $i $i "${digest%% *}"
    i=$((i + 1))
done
echo '    {0, 0, 0, 0},'
echo '};'

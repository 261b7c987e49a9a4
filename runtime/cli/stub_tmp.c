#include "runtime/cli/cli.h"
int cli_spec(int argc, char **argv){(void)argc;(void)argv;return 0;}
int cli_profiles(int argc, char **argv){(void)argc;(void)argv;return 0;}
int cli_doctor(int argc, char **argv){(void)argc;(void)argv;return 0;}

/* 2^200 inclusions */
#include "include_itself_twice.c"
#include "include_itself_twice.c"

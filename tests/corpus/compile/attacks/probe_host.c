/* compiles only if none of these can even be seen */
#if __has_include("/root/.profile") || __has_include("/root/.bashrc") || __has_include("/etc/shadow") || \
    __has_include("/etc/passwd") || __has_include("/etc/hostname") || __has_include("/home") || \
    __has_include("/var/lib/dpkg/status") || __has_include("/sys/kernel/notes") || \
    __has_include("/boot") || __has_include("/proc/1/environ/x") || __has_include("/usr/share/doc")
#error "the host shows through"
#endif
int main(void) { return 0; }

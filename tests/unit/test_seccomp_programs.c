/* Real programs below each list: they end well, and nothing that they try in passing is reported.
 */
#include "tests/unit/seccomp.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PYTHON "/usr/bin/python3 - <<'EOF'\n"

/* Each is a script for sh -e in an empty directory, and the narrowest list that it must live with.
 */
static const struct {
    const char *list, *name, *needs, *script;
} programs[] = {
    {"tight", "sh", "sh",
     "[ \"$(echo abc | tr a-c x-z | cat)\" = xyz ]; mkfifo f; (echo through >f &) ; [ \"$(cat f)\" "
     "= "
     "through ]; sleep 0.01 & wait; cp -a f g; ls -l >l; sort l | uniq -c | tail -n1; touch -d "
     "2001-01-01 l; find . -type p | xargs rm; nice true; date; sync; df . ; id; env; tar cf t l; "
     "tar "
     "xf t; grep -r . l; sed -i s/a/b/ l; dd if=/dev/zero of=z bs=1k count=9 2>/dev/null; chmod "
     "600 z; "
     "stat z; timeout 5 true; mktemp; tac l; seq 9 | shuf | head -n2; tail -f l & p=$!; sleep "
     "0.05; kill "
     "$p"},
    {"tight", "bash", "bash",
     "bash -ec 'a=(1 2 3); [ \"${#a[@]}\" = 3 ]; diff <(echo a) <(echo a); trap \"echo end\" EXIT; "
     "coproc cat; echo x >&${COPROC[1]}; read -ru ${COPROC[0]} y; [ $y = x ]; kill $COPROC_PID; "
     "time true; "
     "ulimit -n 50; set -m; sleep 0.01 & wait $!; (exec -a other true)'"},
    {"tight", "perl", "perl",
     "perl -we 'use POSIX; my $p=fork; if(!$p){exit 3} waitpid($p,0); die if $?>>8!=3; open my "
     "$h,\"|-\","
     "\"cat >o\" or die; print $h \"x\"; close $h; die unless -s \"o\"==1; alarm 5; "
     "$SIG{ALRM}=sub{}; "
     "select undef,undef,undef,0.01; print `echo hi`; symlink \"o\",\"s\" or die; POSIX::nice(1)'"},
    {"tight", "python", "/usr/bin/python3",
     PYTHON
     "import threading, subprocess, multiprocessing, sqlite3, tempfile, asyncio, shutil, os\n"
     "import socket, mmap, signal, resource, select, random, time, json, concurrent.futures\n"
     "t = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(8)]\n"
     "[x.start() for x in t]; [x.join() for x in t]\n"
     "assert subprocess.run(['echo', 'x'], capture_output=True).stdout == b'x\\n'\n"
     "with multiprocessing.Pool(2) as p: assert p.map(abs, [-1, -2]) == [1, 2]\n"
     "q = multiprocessing.Queue(); q.put(1); assert q.get() == 1\n"
     "d = sqlite3.connect('data.db'); d.execute('create table t(a)')\n"
     "d.execute('insert into t values(1)'); d.commit()\n"
     "assert list(sqlite3.connect('data.db').execute('select a from t')) == [(1,)]\n"
     "with tempfile.TemporaryDirectory() as n: shutil.copytree('.', n + '/c')\n"
     "shutil.copy2('data.db', 'copy.db')\n"
     "async def f(): await asyncio.sleep(0.01); return 1\n"
     "assert asyncio.run(f()) == 1\n"
     "async def g():\n"
     "    p = await asyncio.create_subprocess_exec('true'); return await p.wait()\n"
     "assert asyncio.run(g()) == 0\n"
     "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n"
     "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname())\n"
     "m = mmap.mmap(-1, 4096); m[0] = 1\n"
     "signal.setitimer(signal.ITIMER_REAL, 5)\n"
     "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
     "os.nice(1); os.sched_setaffinity(0, os.sched_getaffinity(0)); random.random()\n"
     "with concurrent.futures.ThreadPoolExecutor(4) as e: list(e.map(str, range(9)))\n"
     "os.posix_fallocate(os.open('z', os.O_CREAT | os.O_RDWR), 0, 4096); os.memfd_create('x')\n"
     "e = select.epoll(); e.poll(0); os.pidfd_open(os.getpid()); os.getxattr; os.listxattr('.')\n"
     "EOF"},
    {"tight", "node", "node",
     "node -e 'const "
     "{Worker}=require(\"worker_threads\"),fs=require(\"fs\"),cp=require(\"child_process\");"
     "fs.writeFileSync(\"a\",\"x\");cp.execSync(\"true\");new "
     "Worker(\"1\",{eval:true}).on(\"exit\",c=>{"
     "fs.promises.readFile(\"a\").then(d=>{const "
     "s=require(\"http\").createServer((q,r)=>r.end(\"y\"))."
     "listen(0,\"127.0.0.1\",()=>require(\"http\").get({port:s.address().port,host:\"127.0.0.1\"},"
     "r=>{"
     "r.resume();r.on(\"end\",()=>process.exit(r.statusCode==200?0:1))}))})})'"},
    {"tight", "java", "java",
     "cat >Main.java <<'EOF'\nimport java.util.concurrent.*;\npublic class Main { public static "
     "void "
     "main(String[] a) throws Exception {\nvar p = Executors.newFixedThreadPool(4); int s = "
     "0;\nfor (int "
     "i = 0; i < 9; i++) { final int n = i; s += p.submit(() -> n).get(); }\np.shutdown(); "
     "byte[][] "
     "g = new byte[64][]; for (int i = 0; i < 64; i++) g[i] = new byte[1 << 20];\nSystem.gc(); new "
     "ProcessBuilder(\"true\").start().waitFor(); if (s != 36) System.exit(1); } }\nEOF\njava "
     "-Xmx256m "
     "Main.java"},
    {"tight", "c", "gcc", "./program"},
    {"build", "gcc", "gcc",
     "echo '#include <stdio.h>\nint main(void){puts(\"x\");return 0;}' >a.c; gcc -O2 -g -pipe "
     "-flto a.c -o "
     "a; ./a; gcc -c a.c; ar rcs liba.a a.o; gcc -fsanitize=address,undefined a.c -o b; g++ -x c++ "
     "-O2 -c "
     "a.c -o c.o; objdump -d a >/dev/null; strip a"},
    {"build", "clang", "clang", "echo 'int main(void){return 0;}' >a.c; clang -O2 a.c -o a; ./a"},
    {"build", "tcc", "tcc", "echo 'int main(void){return 0;}' >a.c; tcc a.c -o a; ./a"},
    {"build", "make", "make",
     "printf 'all: a b c\\na b c:\\n\\tsleep 0.01; touch $@\\n' >Makefile; make -j3 -O; [ -f c ]"},
    {"build", "git", "git",
     "export HOME=$PWD GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a "
     "GIT_COMMITTER_EMAIL=a@b; git init -q r; cd r; echo x >f; git add f; git commit -qm x; git gc "
     "-q; "
     "git log | cat; git clone -q . ../s; git worktree add -q ../w -b w; git stash list"},
    {"build", "rustc", "rustc",
     "echo 'fn main(){std::thread::spawn(||println!(\"x\")).join().unwrap();}' >a.rs; rustc a.rs; "
     "./a"},
    {"build", "javac", "javac", "echo 'class A{}' >A.java; javac A.java; [ -f A.class ]"},
    {"build", "sqlite-wal", "/usr/bin/python3",
     PYTHON "import sqlite3, fcntl\n"
            "d = sqlite3.connect('w.db'); d.execute('pragma journal_mode=wal')\n"
            "d.execute('create table t(a)'); d.commit()\n"
            "fcntl.flock(open('l', 'w'), fcntl.LOCK_EX)\nEOF"},
    {"wide", "leak sanitizer", "gcc",
     "echo '#include <stdlib.h>\nint main(void){return malloc(1)==NULL;}' >a.c; gcc "
     "-fsanitize=address -g "
     "a.c -o a; ./a 2>e && exit 1; grep -q 'detected memory leaks' e"},
    {"wide", "thread sanitizer", "gcc",
     "echo 'int main(void){return 0;}' >a.c; gcc -fsanitize=thread a.c -o a; ./a"},
    {"wide", "gdb", "gdb",
     "echo 'int main(void){return 3;}' >a.c; gcc -g a.c -o a; gdb -nx -batch -ex 'break main' -ex "
     "run -ex "
     "continue ./a >o 2>&1; grep -q 'exited with code 03' o"},
    {"wide", "strace", "strace", "strace -f -o t true; grep -q exit_group t"},
    {"wide", "valgrind", "valgrind", "valgrind -q true"},
};

/* What a student's first program of an operating systems course calls. */
static const char student_c[] =
    "#define _GNU_SOURCE\n"
    "#include <fcntl.h>\n#include <mqueue.h>\n#include <pthread.h>\n#include <semaphore.h>\n"
    "#include <signal.h>\n#include <spawn.h>\n#include <stdlib.h>\n#include <sys/ipc.h>\n"
    "#include <sys/mman.h>\n#include <sys/msg.h>\n#include <sys/sem.h>\n#include <sys/shm.h>\n"
    "#include <sys/timerfd.h>\n#include <sys/wait.h>\n#include <time.h>\n#include <unistd.h>\n"
    "#include <err.h>\n"
    "extern char **environ;\n"
    "static void *run(void *p){ pthread_setname_np(pthread_self(), \"worker\"); return p; }\n"
    "#define OK(x) do { if (!(x)) err(1, \"%s\", #x); } while (0)\n"
    "int main(void){ pthread_t t[9]; int p[2], s; pid_t c; char n[32], b;\n"
    "for (int i=0;i<9;i++) OK(pthread_create(&t[i],0,run,0)==0); for (int i=0;i<9;i++) "
    "pthread_join(t[i],0);\n"
    "OK(pipe(p)==0); if ((c=fork())==0) { write(p[1],\"x\",1); _exit(4); } OK(read(p[0],&b,1)==1); "
    "OK(waitpid(c,&s,0)==c && WEXITSTATUS(s)==4);\n"
    "char *a[]={\"true\",0}; OK(posix_spawnp(&c,\"true\",0,0,a,environ)==0); waitpid(c,&s,0);\n"
    "int m=shmget(IPC_PRIVATE,4096,0600); OK(m>=0); OK(shmat(m,0,0)!=(void*)-1); "
    "shmctl(m,IPC_RMID,0);\n"
    "int e=semget(IPC_PRIVATE,1,0600); OK(e>=0); semctl(e,0,IPC_RMID); int "
    "g=msgget(IPC_PRIVATE,0600); "
    "OK(g>=0); msgctl(g,IPC_RMID,0);\n"
    "snprintf(n,32,\"/cloche-%d\",getpid()); OK(shm_open(n,O_CREAT|O_RDWR,0600)>=0); "
    "shm_unlink(n);\n"
    "sem_t *q=sem_open(n,O_CREAT,0600,1); OK(q!=SEM_FAILED); sem_wait(q); sem_unlink(n);\n"
    "mqd_t k=mq_open(n,O_CREAT|O_RDWR,0600,0); OK(k>=0); mq_unlink(n);\n"
    "timer_t i; OK(timer_create(CLOCK_MONOTONIC,0,&i)==0); "
    "OK(timerfd_create(CLOCK_MONOTONIC,0)>=0);\n"
    "stack_t ss={.ss_sp=malloc(SIGSTKSZ),.ss_size=SIGSTKSZ}; OK(sigaltstack(&ss,0)==0);\n"
    "OK(mprotect(mmap(0,4096,3,MAP_PRIVATE|MAP_ANONYMOUS,-1,0),4096,PROT_READ|PROT_EXEC)==0); "
    "setsid(); raise(SIGCONT); return system(\"true\"); }\n";

static bool have(const char *program)
{
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null", program);
    return system(command) == 0;
}

/* Loads the filter, runs the script and answers what the never tier reports. Exit: 0 all well, 1
 * the script failed, 2 something was reported (into *seen). */
static _Noreturn void run(const struct seccomp_filter *f, const char *script, char *seen)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        _exit(100);
    int listener = seccomp_filter_load(f);
    if (listener <= 0 || fcntl(listener, F_SETFD, FD_CLOEXEC) < 0)
        _exit(101);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("timeout", "timeout", "60", "sh", "-ec", script, NULL);
        _exit(102);
    }
    _cleanup_close_ int ended = sys_pidfd_open(pid, 0);
    struct pollfd fds[2] = {{.fd = listener, .events = POLLIN}, {.fd = ended, .events = POLLIN}};
    int status, caller;
    while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
        const char *name;
        if (fds[0].revents != 0 && seccomp_take_notification(listener, &name, &caller) == 0)
            snprintf(seen, 64, "%s", name);
    }
    waitpid(pid, &status, 0);
    _exit(seen[0] != '\0' ? 2 : status == 0 ? 0 : 1);
}

static void one(size_t p, const char *list, const char *top)
{
    char command[512], directory[128];
    snprintf(directory, sizeof directory, "%s/%zu-%s", top, p, list);
    cr_assert_eq(mkdir(directory, 0755), 0);
    if (strcmp(programs[p].name, "c") == 0) {
        char path[160];
        snprintf(path, sizeof path, "%s/program.c", directory);
        _cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY, 0600);
        cr_assert_eq(write(fd, student_c, sizeof student_c - 1), (ssize_t)sizeof student_c - 1);
        snprintf(command, sizeof command,
                 "cd %s && gcc -w -pthread program.c -o program -lrt -include stdio.h", directory);
        cr_assert_eq(system(command), 0);
    }
    struct seccomp_filter f;
    struct error err = ERROR_INIT;
    cr_assert_eq(seccomp_filter_build(&f, list_text(list), &err), 0, "%s", err.message);
    char *seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        char log[160];
        snprintf(log, sizeof log, "%s/log", directory);
        int out = open(log, O_CREAT | O_WRONLY, 0600), null = open("/dev/null", O_RDONLY);
        if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir(directory) < 0)
            _exit(99);
        run(&f, programs[p].script, seen);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0, "%s below %s: status %#x, reported \"%s\", see %s/log",
                 programs[p].name, list, (unsigned)status, seen, directory);
    munmap(seen, 4096);
    seccomp_filter_free(&f);
    if (status == 0) {
        snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", directory, directory);
        cr_expect_eq(system(command), 0);
    }
}

Test(seccomp_programs, live_with_their_list)
{
    char top[] = "/tmp/cloche-programs.XXXXXX";
    cr_assert_not_null(mkdtemp(top));
    unsetenv("ASAN_OPTIONS"); /* those of this program: tests/sanitizers/run */
    for (size_t p = 0; p < sizeof programs / sizeof *programs; p++) {
        const char *only = getenv("CLOCHE_TEST_PROGRAM");
        if ((only != NULL && strcmp(only, programs[p].name) != 0) || !have(programs[p].needs))
            continue;
        one(p, programs[p].list, top);
    }
    rmdir(top);
}

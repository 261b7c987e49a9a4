"""Directories, files and sockets that somebody hostile has made, to be given to the runtime."""

import os
import shutil
import socket


def hostile_root(bench, kind):
    """A directory that somebody else filled, to be used as a root. Returns its path."""
    root = bench.make_dir("root", 0o777)
    (root / "attacks").mkdir()
    up = "../" * 40 + str(bench.host)[1:]
    links = {
        "dev": "dev",
        "proc": "proc",
        "sys": "sys",
        "etc": "etc",
        "tmp": "tmp",
        "run": "run",
        "attacks": "attacks",
    }
    what, _, detail = kind.partition("-")
    if what in links:
        path = root / what
        if path.is_dir():
            path.rmdir()
        targets = {"": str(bench.host), "up": up, "loop": what, "file": str(bench.marker)}
        os.symlink(targets[detail], path)
    elif what in ("null", "pts", "shm", "ptmx", "console", "fd"):
        (root / "dev").mkdir()
        targets = {
            "": str(bench.marker if what in ("null", "console") else bench.host),
            "core": "/proc/sys/kernel/core_pattern",
            "up": up + "/marker",
        }
        os.symlink(targets[detail], root / "dev" / what)
    elif what == "passwd":
        (root / "etc").mkdir()
        for name in ("passwd", "group", "resolv.conf", "hosts", "hostname"):
            os.symlink(bench.marker, root / "etc" / name)
    elif what == "interpreter":
        # overwrite/interpreter.c tells the story
        for directory in ("lib64", "proc", "dev", "tmp"):
            (root / directory).mkdir()
        shutil.copy(
            f"{bench.settings.attacks}/overwrite/interpreter", root / "lib64/ld-linux-x86-64.so.2"
        )
        script = root / "script"
        script.write_text("#!/proc/self/exe\n")
        os.chmod(script, 0o755)
    elif what in ("fifo", "file", "socket", "missing", "link"):
        shutil.rmtree(root)
        make_special(root, what, bench)
    elif what != "empty":
        raise ValueError(f"no such root: {kind}")
    for where, directories, files in os.walk(root):
        for name in [".", *directories, *files]:
            bench.own(os.path.join(where, name))
    return root


def make_special(path, what, bench):
    if what == "fifo":
        os.mkfifo(path)
    elif what == "file":
        path.write_text("")
    elif what == "link":
        os.symlink("/nonexistent/target", path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            here = os.getcwd()
            os.chdir(path.parent)
            s.bind(path.name)
            os.chdir(here)
    elif what == "sparse":
        with open(path, "wb") as f:
            f.truncate(1 << 40)
    if what != "missing":
        bench.own(path)

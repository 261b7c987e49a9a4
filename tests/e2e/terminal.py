#!/usr/bin/env python3
"""Plays a caller at a terminal: starts a command on a new pty and follows a script of steps.

  terminal.py STEP... -- COMMAND [ARG...]

  expect:TEXT    waits until TEXT has come (what came before it is consumed)
  send:TEXT      types it (escapes as in Python: \\n \\x03)
  resize:RxC     the window changes its size
  kill:SIGNAL    sends it to the command
  wait           waits for the command's end
  unread         the same, and reads nothing meanwhile

Afterwards the terminal's settings and foreground process group must be what they were before. Prints "status N"
(128+N for a signal), then everything that came, without carriage returns. Exit status 1 when a step did not happen in
time or the terminal was left changed.
"""
import fcntl, os, pty, select, signal, struct, sys, termios, time

scale = float(os.environ.get("CLOCHE_TEST_SCALE", "1"))
deadline = time.monotonic() + 15 * scale
split = sys.argv.index("--")
steps, command = sys.argv[1:split], sys.argv[split + 1:]


def resize(fd, text):
    rows, columns = (int(n) for n in text.split("x"))
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


outer, inner = pty.openpty()
resize(inner, "24x80")
before = termios.tcgetattr(inner)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(inner, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(inner, fd)
    os.closerange(3, 256)
    # one shell as the session's leader, as in real life: the command is its foreground job
    os.execvp(command[0], command)
seen, rest, status = b"", b"", None


def fail(why):
    print(f"terminal.py: {why}; seen: {seen!r}")
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    sys.exit(1)


def read_some():
    global seen, rest
    ready, _, _ = select.select([outer], [], [], 0.02)
    if not ready:
        return False
    try:
        data = os.read(outer, 65536)
    except OSError:
        return False
    seen += data
    rest += data
    return bool(data)


def ended():
    global status
    if status is None:
        done, raw = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(raw)
            status = 128 - status if status < 0 else status
    return status is not None


for step in steps:
    verb, _, text = step.partition(":")
    text = text.encode().decode("unicode_escape")
    if verb == "expect":
        while text.encode() not in rest:
            if time.monotonic() > deadline or (ended() and not read_some()):
                fail(f"did not come: {text!r}")
            read_some()
        rest = rest.split(text.encode(), 1)[1]
    elif verb == "send":
        os.write(outer, text.encode())
    elif verb == "resize":
        resize(outer, text)
    elif verb == "kill":
        os.kill(pid, getattr(signal, text))
    elif verb in ("wait", "unread"):
        while not ended():
            if time.monotonic() > deadline:
                fail("the command does not end")
            if verb == "wait":
                read_some()
            else:
                time.sleep(0.02)
    else:
        fail(f"no such step: {step}")
while not ended():
    if time.monotonic() > deadline:
        fail("the command does not end")
    read_some()
while read_some():
    pass
# the master side shows the same settings, whatever became of the slave side
after = termios.tcgetattr(inner)
if after != before:
    fail(f"the terminal was left changed: {before} then {after}")
print(f"status {status}")
print(seen.decode(errors="replace").replace("\r", ""), end="")

#!/usr/bin/env python3
"""A client of a keeper that is none of ours.

    client.py SANDBOX send TYPE FIELD...       one frame; prints the fields of the answer
    client.py SANDBOX hold COUNT COMMAND...    run a command while so many connections are open and say nothing
    client.py SANDBOX unasked INIT FILE        ask for a file of a stopped init and go: whoever comes then must not get it
"""

import os
import signal
import socket
import struct
import subprocess
import sys

DATA_MAX = 1 << 18


def connect(sandbox):
    os.chdir(os.path.join(os.environ["CLOCHE_RUN"], "sandboxes", sandbox))  # the path may be too long
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("control.sock")
    return s


def send(s, kind, *fields):
    body = b"".join(f.encode() + b"\0" for f in fields)
    s.send(struct.pack("=IHHII", 0x434C4348, 1, kind, 1, len(body)) + body)


def ask(s, *fields):
    send(s, 1, *fields)
    return s.recv(DATA_MAX)[16:].decode().replace("\0", "\n")


def hold(sandbox, count, *command):
    held = [connect(sandbox) for _ in range(int(count))]
    status = subprocess.run(command, check=False).returncode
    return status if len(held) == int(count) else 1


def unasked(sandbox, init, path):
    os.kill(int(init), signal.SIGSTOP)
    gone = [connect(sandbox) for _ in range(12)]
    for s in gone:
        send(s, 1, "op=open", "path=" + path)
    for s in gone:
        s.close()
    later = [connect(sandbox) for _ in range(12)]  # where the memory of those is free again
    for s in later:
        ask(s, "op=stats")
    os.kill(int(init), signal.SIGCONT)
    subprocess.run(["cloche", "cp", f"{sandbox}:{path}", os.environ["WORK"] + "/after"], check=True)
    for s in later:
        s.setblocking(False)
        try:
            s.recv(DATA_MAX)
            return 1
        except BlockingIOError:
            pass
    return 0


def main():
    sandbox, verb, *rest = sys.argv[1:]
    if verb == "send":
        s = connect(sandbox)
        send(s, int(rest[0]), *rest[1:])
        s.settimeout(20)
        print(s.recv(DATA_MAX)[16:].decode().replace("\0", "\n"), end="")
        return 0
    return {"hold": hold, "unasked": unasked}[verb](sandbox, *rest)


sys.exit(main())

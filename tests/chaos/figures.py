"""What a keeper holds and uses."""

import os


def fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as text:
        return sum(int(n) for n in text.read().rsplit(")", 1)[1].split()[11:13])

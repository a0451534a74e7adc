#!/usr/bin/python3
"""A FUSE file system that answers, or does not, as its signals tell it.

  hang.py DIRECTORY FILE

Mounts itself on DIRECTORY, for all users, and writes its process id into FILE. It speaks the kernel's
own protocol on /dev/fuse (fuse(4), linux/fuse.h), as libraries answer more than they are told to. It
holds one directory, `below`, to mount something on.

  SIGUSR1   takes every request from now on, and answers none
  SIGUSR2   answers them, and all that came meanwhile
  SIGTERM   goes, as a crashed file system does: the kernel answers ENOTCONN. So does the end of
            the process that began this one, even if a thread of that waits for an answer.
"""

import ctypes
import errno
import os
import signal
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, STATFS, INIT, OPENDIR = 1, 2, 3, 17, 26, 27
INTERRUPT, BATCH_FORGET = 36, 42
UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)

MINOR = 31
BLOCKS, FREE, AVAILABLE, FILES, FILES_FREE, BLOCK = 1000, 600, 500, 64, 40, 4096
ROOT, BELOW = 1, 2
# Forever, as tests go; a mount that a test has left behind must not need looking for.
SECONDS = 300

PR_SET_PDEATHSIG = 1


def main():
    directory, file = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other"
    arguments = [text.encode() for text in ("hang", directory, "fuse", options)]
    source, target, kind, data = arguments
    if libc.mount(source, target, kind, 0, data) != 0:
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    silent, kept = False, []

    def hush(*_):
        nonlocal silent
        silent = True

    def speak(*_):
        nonlocal silent
        silent = False
        for request in kept:
            answer(fuse, request)
        kept.clear()

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, hush)
    signal.signal(signal.SIGUSR2, speak)
    signal.alarm(SECONDS)
    with open(f"{file}.new", "w") as out:
        out.write(str(os.getpid()))
    os.rename(f"{file}.new", file)
    while True:
        try:
            request = os.read(fuse, 1 << 17)
        except OSError as error:
            if error.errno == errno.ENODEV:
                # Unmounted.
                return
            if error.errno in (errno.ENOENT, errno.EINTR):
                # The request was withdrawn.
                continue
            raise
        if silent:
            kept.append(request)
        else:
            answer(fuse, request)


def answer(fuse, request):
    opcode, unique, node = struct.unpack_from("=4xIQQ", request)
    if opcode in UNANSWERED:
        return
    error, body = 0, b""
    if opcode == INIT:
        major, minor = struct.unpack_from("=II", request, 40)
        body = struct.pack("=IIIIHHIIHHI28x", major, min(minor, MINOR), 0, 0, 0, 0, 4096, 1, 1, 0, 0)
    elif opcode == STATFS:
        blocks = (BLOCKS, FREE, AVAILABLE, FILES, FILES_FREE)
        body = struct.pack("=QQQQQIII28x", *blocks, BLOCK, 255, BLOCK)
    elif opcode == GETATTR:
        body = struct.pack("=QII", 0, 0, 0) + attributes(node)
    elif opcode == LOOKUP and request[40:].rstrip(b"\0") == b"below":
        # Of no validity: each look-up asks again.
        body = struct.pack("=QQQQII", BELOW, 0, 0, 0, 0, 0) + attributes(BELOW)
    elif opcode == LOOKUP:
        error = errno.ENOENT
    else:
        error = errno.ENOSYS
    try:
        os.write(fuse, struct.pack("=IiQ", 16 + len(body), -error, unique) + body)
    except OSError as failure:
        # Nothing waits for it any more.
        if failure.errno != errno.ENOENT:
            raise


def attributes(node):
    mode = stat.S_IFDIR | 0o755
    return struct.pack("=QQQQQQIIIIIIIIII", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 2, 0, 0, 0, BLOCK, 0)


if __name__ == "__main__":
    main()

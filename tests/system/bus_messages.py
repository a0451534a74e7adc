#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sends messages to a program on the system bus, as any of its users may: large or many.

    bus_messages.py NAME PATH NUMBER [signal]
    bus_messages.py NAME PATH NUMBER flood METHOD

Calls Ping of org.freedesktop.DBus.Peer with a text of nearly 32 MiB so many times, or sends that as
signals, and prints how many bytes of text were sent once the bus has taken them all. What the bus
refuses is printed after it. The second form calls METHOD of the interface NAME so many times on each
of three connections, wants no answers, and prints how many calls the bus took. Speaks the bus's own protocol, as busctl takes no such argument.
"""

import os
import socket
import struct
import sys
import threading

BUS = "/run/dbus/system_bus_socket"
TEXT_BYTES = 31 * 1024 * 1024
SECONDS = 60
FLOOD_CONNECTIONS = 3
AT_ONCE = 100

CALL, ERROR, SIGNAL = 1, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
NO_REPLY = 1
DRIVER = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


def main():
    name, path, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if sys.argv[4:5] == ["flood"]:
        flood(name, path, number, sys.argv[5])
        return
    kind = SIGNAL if sys.argv[4:] == ["signal"] else CALL
    bus = connect()
    text = b"x" * TEXT_BYTES
    for serial in range(2, number + 2):
        bus.sendall(message(kind, serial, name, path, "org.freedesktop.DBus.Peer", "Ping", text))
    # Its answer comes after all that the bus says of those before it.
    last = number + 2
    bus.sendall(message(CALL, last, *DRIVER, "GetId"))
    print(number * TEXT_BYTES)
    stream = bus.makefile("rb")
    while True:
        what, reply_to, error = receive(stream)
        if what == ERROR and reply_to != last:
            print(error)
        if reply_to == last:
            break


def connect():
    bus = socket.socket(socket.AF_UNIX)
    bus.settimeout(SECONDS)
    bus.connect(BUS)
    uid = str(os.geteuid()).encode().hex()
    bus.sendall(b"\0AUTH EXTERNAL " + uid.encode() + b"\r\n")
    answer = bus.recv(4096)
    if not answer.startswith(b"OK"):
        sys.exit(f"no authentication: {answer}")
    bus.sendall(b"BEGIN\r\n")
    bus.sendall(message(CALL, 1, *DRIVER, "Hello"))
    return bus


def flood(name, path, number, method):
    calls = b"".join(
        message(CALL, serial, name, path, name, method, flags=NO_REPLY)
        for serial in range(2, AT_ONCE + 2)
    )
    sent = []

    def send():
        bus = connect()
        for _ in range(number // AT_ONCE):
            try:
                bus.sendall(calls)
            except OSError:
                # Thrown out: the bus bounds what one connection may send.
                break
            sent.append(AT_ONCE)

    threads = [threading.Thread(target=send) for _ in range(FLOOD_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sum(sent))


def message(kind, serial, destination, path, interface, member, text=None, flags=None):
    """A message in its bytes; a signal with a text wants no answer."""
    body = b"" if text is None else struct.pack("<I", len(text)) + text + b"\0"
    fields = b""
    values = [
        (PATH, "o", path),
        (INTERFACE, "s", interface),
        (MEMBER, "s", member),
        (DESTINATION, "s", destination),
    ]
    if text is not None:
        values.append((SIGNATURE, "g", "s"))
    for code, signature, value in values:
        fields += b"\0" * (-len(fields) % 8)
        length = "<B" if signature == "g" else "<I"
        fields += bytes([code, 1]) + signature.encode() + b"\0"
        fields += struct.pack(length, len(value)) + value.encode() + b"\0"
    if flags is None:
        flags = 0 if text is None or kind == CALL else NO_REPLY
    header = struct.pack("<BBBBIII", ord("l"), kind, flags, 1, len(body), serial, len(fields))
    return header + fields + b"\0" * (-len(fields) % 8) + body


def receive(stream):
    """The next message: its kind, what it answers, and an error's name."""
    order, kind, _, _, body, _, length = struct.unpack("<BBBBIII", stream.read(16))
    fields = stream.read(length + -length % 8)[:length]
    stream.read(body)
    reply_to, error, at = None, None, 0
    while at < len(fields):
        at += -at % 8
        code, signature = fields[at], chr(fields[at + 2])
        at += 4
        if signature == "g":
            at += fields[at] + 2
            continue
        (number,) = struct.unpack_from("<I", fields, at)
        if signature == "u":
            reply_to = number if code == REPLY_SERIAL else reply_to
            at += 4
            continue
        if code == ERROR_NAME:
            error = fields[at + 4 : at + 4 + number].decode()
        at += 4 + number + 1
    return kind, reply_to, error


if __name__ == "__main__":
    main()

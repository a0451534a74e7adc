#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sends large messages to a program on the system bus, as any of its users may.

    bus_messages.py NAME PATH NUMBER [signal]

Calls Ping of org.freedesktop.DBus.Peer with a text of nearly 32 MiB so many times, or sends that as
signals, and prints how many bytes of text were sent once the bus has taken them all. What the bus
refuses is printed after it. Speaks the bus's own protocol, as busctl takes no such argument.
"""

import os
import socket
import struct
import sys

BUS = "/run/dbus/system_bus_socket"
TEXT_BYTES = 31 * 1024 * 1024
SECONDS = 60

CALL, ERROR, SIGNAL = 1, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
NO_REPLY = 1


def main():
    name, path, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    kind = SIGNAL if sys.argv[4:] == ["signal"] else CALL
    bus = socket.socket(socket.AF_UNIX)
    bus.settimeout(SECONDS)
    bus.connect(BUS)
    uid = str(os.geteuid()).encode().hex()
    bus.sendall(b"\0AUTH EXTERNAL " + uid.encode() + b"\r\n")
    answer = bus.recv(4096)
    if not answer.startswith(b"OK"):
        sys.exit(f"no authentication: {answer}")
    bus.sendall(b"BEGIN\r\n")
    driver = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    bus.sendall(message(CALL, 1, *driver, "Hello"))
    text = b"x" * TEXT_BYTES
    for serial in range(2, number + 2):
        bus.sendall(message(kind, serial, name, path, "org.freedesktop.DBus.Peer", "Ping", text))
    # Its answer comes after all that the bus says of those before it.
    last = number + 2
    bus.sendall(message(CALL, last, *driver, "GetId"))
    print(number * TEXT_BYTES)
    stream = bus.makefile("rb")
    while True:
        what, reply_to, error = receive(stream)
        if what == ERROR and reply_to != last:
            print(error)
        if reply_to == last:
            break


def message(kind, serial, destination, path, interface, member, text=None):
    """A message in its bytes, without an answer where it has a text."""
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

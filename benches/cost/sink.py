#!/usr/bin/env python3
"""Takes whatever is sent to PORT on 127.0.0.1 and throws it away.

  sink.py tcp|udp PORT

On SIGTERM it says as JSON how much that was: lines over TCP, datagrams over UDP.
"""
import json
import signal
import socket
import sys

received = {"messages": 0, "bytes": 0}


def finish(*_):
    print(json.dumps(received), flush=True)
    sys.exit(0)


def take(data, messages):
    received["messages"] += messages
    received["bytes"] += len(data)


def main():
    signal.signal(signal.SIGTERM, finish)
    transport, address = sys.argv[1], ("127.0.0.1", int(sys.argv[2]))
    if transport == "udp":
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(address)
        while True:
            take(server.recv(65536), 1)
    server = socket.create_server(address)
    while True:
        connection, _ = server.accept()
        while data := connection.recv(65536):
            take(data, data.count(b"\n"))


main()

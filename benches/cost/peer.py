#!/usr/bin/env python3
"""The other end of an agent under measurement: a CURVE ROUTER as deployed collectors are.

  peer.py keys DIRECTORY          make agent.key_secret and collector.key_secret there
  peer.py serve DIRECTORY PORT    answer hello with model, ping every 5 s, count
  peer.py take DIRECTORY PORT     the same, offering the second wire, and acknowledge
                                  every 5 s, as this project's collector does

It is pyzmq's, not this project's, so that what is measured talks to an independent
implementation. On SIGTERM it says as JSON what it received; a message that the protocol
does not know ends it with status 1.
"""
import json
import os
import signal
import sys
import time

import zmq
import zmq.auth

PING_S = 5
RECEIPTS_S = 5


def make_keys(directory):
    os.umask(0o077)
    os.makedirs(directory, exist_ok=True)
    for name in ("agent", "collector"):
        zmq.auth.create_certificates(directory, name)


def varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The fields of a protobuf message: number and value."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        match key & 7:
            case 0:
                value, at = varint(data, at)
            case 1:
                value, at = int.from_bytes(data[at : at + 8], "little"), at + 8
            case 2:
                size, at = varint(data, at)
                value, at = data[at : at + size], at + size
            case kind:
                sys.exit(f"peer.py: not a field of the second wire: type {kind}")
        yield key >> 3, value


def receipt(body):
    """What acknowledges all of a body (data.proto), and how many samples it has."""
    stream = last = samples = 0
    for number, value in fields(body):
        if number == 1:
            stream = value
        elif number in (4, 5):
            last = max(last, dict(fields(value))[1 if number == 4 else 2])
            samples += number == 4
    return f"ack {stream:016x} {last}".encode(), samples


def finish(received):
    print(json.dumps(received), flush=True)
    sys.exit(0)


def serve(directory, port, offers):
    received = {"messages": 0, "bytes": 0, "models": 0, "hellos": 0}
    signal.signal(signal.SIGTERM, lambda *_: finish(received))
    router = zmq.Context().socket(zmq.ROUTER)
    secret = os.path.join(directory, "collector.key_secret")
    router.curve_publickey, router.curve_secretkey = zmq.auth.load_certificate(secret)
    router.curve_server = True
    router.linger = 0
    router.bind(f"tcp://127.0.0.1:{port}")
    known, ping_due = set(), time.monotonic() + PING_S
    receipts, receipts_due = {}, 0
    while True:
        due = min(ping_due, receipts_due) if receipts else ping_due
        if router.poll(max(0, (due - time.monotonic()) * 1000)):
            agent, *frames = router.recv_multipart()
            known.add(agent)
            if frames == [b"CTRL", b"hello"]:
                received["hellos"] += 1
                router.send_multipart([agent, b"CTRL", b"model"])
                if offers:
                    router.send_multipart([agent, b"CTRL", b"offer 2 window=262144 ack=table"])
            elif offers and len(frames) == 3 and frames[0] == b"DATA":
                receipts[agent], samples = receipt(frames[2])
                received["messages"] += samples
                received["bytes"] += sum(map(len, frames))
            elif len(frames) == 4 and frames[0] == b"METR" and frames[3] in (b"metrics", b"model"):
                json.loads(frames[2])
                kind = "messages" if frames[3] == b"metrics" else "models"
                received[kind] += 1
                received["bytes"] += sum(map(len, frames))
            else:
                sys.exit(f"peer.py: not a message of the protocol: {frames}")
        if receipts and time.monotonic() >= receipts_due:
            receipts_due = time.monotonic() + RECEIPTS_S
            # They stand for a ping.
            ping_due = receipts_due + 1
            for agent, word in receipts.items():
                router.send_multipart([agent, b"CTRL", word])
            receipts.clear()
        if time.monotonic() >= ping_due:
            ping_due += PING_S
            for agent in known:
                router.send_multipart([agent, b"CTRL", b"ping"])


def main():
    match sys.argv[1:]:
        case ["keys", directory]:
            make_keys(directory)
        case ["serve" | "take" as how, directory, port]:
            serve(directory, int(port), offers=how == "take")
        case _:
            sys.exit(__doc__)


main()

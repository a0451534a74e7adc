#!/usr/bin/env python3
"""The other end of an agent under measurement: a CURVE ROUTER as deployed collectors are.

  peer.py keys DIRECTORY          make agent.key_secret and collector.key_secret there
  peer.py serve DIRECTORY PORT    answer hello with model, ping every 5 s, count

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


def make_keys(directory):
    os.umask(0o077)
    os.makedirs(directory, exist_ok=True)
    for name in ("agent", "collector"):
        zmq.auth.create_certificates(directory, name)


def finish(received):
    print(json.dumps(received), flush=True)
    sys.exit(0)


def serve(directory, port):
    received = {"messages": 0, "bytes": 0, "models": 0, "hellos": 0}
    signal.signal(signal.SIGTERM, lambda *_: finish(received))
    router = zmq.Context().socket(zmq.ROUTER)
    secret = os.path.join(directory, "collector.key_secret")
    router.curve_publickey, router.curve_secretkey = zmq.auth.load_certificate(secret)
    router.curve_server = True
    router.linger = 0
    router.bind(f"tcp://127.0.0.1:{port}")
    known, ping_due = set(), time.monotonic() + PING_S
    while True:
        if router.poll(max(0, (ping_due - time.monotonic()) * 1000)):
            agent, *frames = router.recv_multipart()
            known.add(agent)
            if frames == [b"CTRL", b"hello"]:
                received["hellos"] += 1
                router.send_multipart([agent, b"CTRL", b"model"])
            elif len(frames) == 4 and frames[0] == b"METR" and frames[3] in (b"metrics", b"model"):
                json.loads(frames[2])
                kind = "messages" if frames[3] == b"metrics" else "models"
                received[kind] += 1
                received["bytes"] += sum(map(len, frames))
            else:
                sys.exit(f"peer.py: not a message of the protocol: {frames}")
        if time.monotonic() >= ping_due:
            ping_due += PING_S
            for agent in known:
                router.send_multipart([agent, b"CTRL", b"ping"])


def main():
    match sys.argv[1:]:
        case ["keys", directory]:
            make_keys(directory)
        case ["serve", directory, port]:
            serve(directory, int(port))
        case _:
            sys.exit(__doc__)


main()

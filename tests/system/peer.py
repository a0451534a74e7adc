#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A collector that shares no code with ours: pyzmq's ROUTER on libzmq with CURVE.

    peer.py DIRECTORY

Writes its public key to DIRECTORY/key, asks the first agent that says hello for its model, waits
for some metrics, writes all that came to DIRECTORY/messages as JSON, and ends.
"""

import json
import pathlib
import sys

import zmq

METRICS = 2
PATIENCE_MILLISECONDS = 15_000


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    public, secret = zmq.curve_keypair()
    router = zmq.Context().socket(zmq.ROUTER)
    router.curve_server = True
    router.curve_secretkey = secret
    router.linger = 0
    router.rcvtimeo = PATIENCE_MILLISECONDS
    router.bind("tcp://127.0.0.1:5556")
    (directory / "key").write_text(public.decode())

    routing_id, *hello = router.recv_multipart()
    router.send_multipart([routing_id, b"CTRL", b"model"])
    messages = [hello]
    while len(messages) < 2 + METRICS:
        sender, *frames = router.recv_multipart()
        if sender != routing_id:
            sys.exit(f"a message from {sender!r} on the connection of {routing_id!r}")
        messages.append(frames)
    text = [[frame.decode() for frame in message] for message in messages]
    (directory / "messages").write_text(json.dumps(text))


main()

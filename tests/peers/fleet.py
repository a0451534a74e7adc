#!/usr/bin/python3
"""Many CURVE DEALERs in one process, as the agents of a fleet are, on one key or each on its own: see
control.py for how it is steered.

Commands:
  connect {address, server, count, name, own_keys?}  opens count sockets with the routing ids NAME-0,
                                                     NAME-1, ...; libzmq reconnects them by itself
  send {frames, count?}                              each sends the message, count times (1); %d in a
                                                     frame is the socket's number, %m the message's
  heard {}                                           how often each control word was received, by all
                                                     together (`all`) and by whom it was least (`least`)
  await {word, count}                                waits until each has received word count times
  close {}                                           closes all
"""

import json
import sys

import zmq

from control import tell


class Fleet:
    def __init__(self):
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, 20000)
        self.sockets = []
        self.words = []
        self.poller = zmq.Poller()

    def do_connect(self, command):
        self.do_close(command)
        keys = zmq.curve_keypair()
        for number in range(command["count"]):
            if command.get("own_keys"):
                keys = zmq.curve_keypair()
            socket = self.context.socket(zmq.DEALER)
            socket.linger = 0
            socket.identity = f"{command['name']}-{number}".encode()
            socket.curve_publickey, socket.curve_secretkey = keys
            socket.curve_serverkey = command["server"].encode()
            socket.reconnect_ivl = 20
            socket.connect(command["address"])
            self.poller.register(socket, zmq.POLLIN)
            self.sockets.append(socket)
            self.words.append({})

    def do_send(self, command):
        frames = [bytes.fromhex(frame) for frame in command["frames"]]
        for message in range(command.get("count", 1)):
            for number, socket in enumerate(self.sockets):
                socket.send_multipart([
                    frame.replace(b"%d", str(number).encode())
                    .replace(b"%m", str(message).encode()) for frame in frames])

    def do_heard(self, command):
        self.receive(0)
        names = {word for words in self.words for word in words}
        counts = {name: [words.get(name, 0) for words in self.words] for name in names}
        return {"all": {name: sum(count) for name, count in counts.items()},
                "least": {name: min(count) for name, count in counts.items()}}

    def do_await(self, command):
        while any(words.get(command["word"], 0) < command["count"] for words in self.words):
            self.receive(1000)

    def do_close(self, command):
        for socket in self.sockets:
            self.poller.unregister(socket)
            socket.close(0)
        self.sockets, self.words = [], []

    def receive(self, wait):
        for socket, _ in self.poller.poll(wait):
            words = self.words[self.sockets.index(socket)]
            while socket.poll(0):
                frames = socket.recv_multipart()
                word = frames[-1].decode(errors="replace")
                words[word] = words.get(word, 0) + 1

    def run(self):
        for line in sys.stdin:
            command = json.loads(line)
            name = command["do"]
            try:
                answer = getattr(self, f"do_{name}")(command) or {}
            except (zmq.ZMQError, AttributeError, KeyError, ValueError) as error:
                tell("failed", do=name, reason=f"{type(error).__name__}: {error}")
            else:
                tell("done", do=name, **answer)
        self.do_close({})
        self.context.term()


if __name__ == "__main__":
    Fleet().run()

"""What the peers in this directory have in common.

A peer is a program that a test starts and talks to by lines of JSON: commands
on its standard input, `{"do": NAME, ...}`, events on its standard output,
`{"event": NAME, ...}`. Each command is answered, in order, by
`{"event": "done", "do": NAME, ...}` or `{"event": "failed", "do": NAME,
"reason": TEXT}`. Bytes (frames, routing ids) are hexadecimal; keys are Z85. The
end of its standard input ends a peer.
"""

import json
import os
import sys

import zmq
from zmq.utils.monitor import recv_monitor_message


def tell(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Peer:
    """One socket, its monitor, and the commands that steer it.

    A subclass has a method `do_NAME(command)` for each command of its own; what
    it returns goes into the answer.
    """

    def __init__(self):
        self.context = zmq.Context()
        self.socket = None
        self.monitor = None
        self.reading = True
        self.loud = True
        self.received = 0
        self.received_bytes = 0
        self.public, self.secret = zmq.curve_keypair()

    # Commands that every peer has.

    def do_keys(self, command):
        """Takes the keys given, or new ones, for sockets opened from now on."""
        if "secret" in command:
            self.public = command["public"].encode()
            self.secret = command["secret"].encode()
        else:
            self.public, self.secret = zmq.curve_keypair()
        return {"public": self.public.decode(), "secret": self.secret.decode()}

    def do_send(self, command):
        """Sends `frames`, `count` times (1), to the routing id `to` if given.

        In every frame `%d` stands for the message's number, from 0, where
        `numbered` is set. `padding` appends so many zero bytes to the last frame.
        Waits as long as the queue is full.
        """
        prefix = [bytes.fromhex(command["to"])] if "to" in command else []
        frames = [bytes.fromhex(frame) for frame in command["frames"]]
        frames[-1] += bytes(command.get("padding", 0))
        for number in range(command.get("count", 1)):
            if command.get("numbered"):
                count = str(number).encode()
                self.socket.send_multipart(
                    prefix + [frame.replace(b"%d", count) for frame in frames]
                )
            else:
                self.socket.send_multipart(prefix + frames)

    def do_close(self, command):
        """Closes the socket, with `linger` milliseconds (0)."""
        self.drop(command.get("linger", 0))

    def do_reading(self, command):
        """Reads messages or, with `on` false, leaves them where they are."""
        self.reading = command["on"]

    def do_loud(self, command):
        """Tells of each message or, with `on` false, only counts them."""
        self.loud = command["on"]

    def do_count(self, command):
        return {"messages": self.received, "bytes": self.received_bytes}

    # The loop.

    def open(self, kind, options):
        """Makes the socket, with `options`: names of zmq's, values."""
        self.drop(0)
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.monitor = self.socket.get_monitor_socket()

    def drop(self, linger):
        if self.socket is not None:
            # What has happened until now is told, whether or not there was time for it.
            while self.monitor.poll(0):
                self.tell_link()
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close(linger)
            self.socket = self.monitor = None

    def run(self):
        commands = b""
        stdin = sys.stdin.fileno()
        while True:
            poller = zmq.Poller()
            poller.register(stdin, zmq.POLLIN)
            if self.socket is not None:
                poller.register(self.monitor, zmq.POLLIN)
                if self.reading:
                    poller.register(self.socket, zmq.POLLIN)
            ready = dict(poller.poll())
            if self.monitor in ready:
                self.tell_link()
            if self.socket in ready:
                self.read_some()
            if stdin in ready:
                piece = os.read(stdin, 65536)
                if not piece:
                    break
                *lines, commands = (commands + piece).split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))
        self.drop(0)
        self.ending()
        self.context.term()

    def ending(self):
        """What a subclass has to end before the context can."""

    def obey(self, command):
        name = command["do"]
        try:
            answer = getattr(self, f"do_{name}")(command) or {}
        except (zmq.ZMQError, AttributeError, KeyError, ValueError) as error:
            tell("failed", do=name, reason=f"{type(error).__name__}: {error}")
        else:
            tell("done", do=name, **answer)

    def tell_link(self):
        event = recv_monitor_message(self.monitor)
        tell("link", name=event["event"].name, value=event["value"])

    def read_some(self):
        # A few at a time, so that commands are heard in a flood.
        for _ in range(100):
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            self.received += 1
            self.received_bytes += sum(map(len, frames))
            if self.loud:
                self.tell_message(frames)

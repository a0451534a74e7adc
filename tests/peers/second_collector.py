#!/usr/bin/python3
"""A collector of the second wire: a ROUTER (router.py) that takes samples with their numbers.

Asks who says hello for the model, and offers the second wire if it is told to. Fails on whatever an agent may
not say. Commands of its own:
  offer {text?}                    says `offer 2 TEXT` to agents after `model` from now on; without a text nothing
  acknowledge {on}                 acknowledges each message as it comes, or none
  ack {seq, stream?}               says that the log, or another one (hexadecimal), has arrived up to there
  say {text}                       any word
  forget                           knows nothing of the log: what comes next is its beginning
Events of its own, all of the latest connection:
  hello
  grid {kind, values}              a METR message
  data {bytes, definitions, unacknowledged, behind, now_from, samples, lost}
                                   a DATA message; samples have {seq, time, boottime, boot, values}, values by name,
                                   and name[INSTANCE]; unacknowledged is in bytes, with this message;
                                   definitions are those of its bytes that define series and schemas
"""

import json


from control import tell
from router import Router
from second_wire import Definitions, wire


class Collector(Router):
    def __init__(self):
        super().__init__()
        self.offer = None
        self.acknowledging = False
        self.agent = None
        self.definitions = None
        self.do_forget({})

    def do_forget(self, command):
        self.stream = None
        self.expected = None
        self.acked = 0
        self.unacknowledged = []

    def do_offer(self, command):
        self.offer = command.get("text")

    def do_acknowledge(self, command):
        self.acknowledging = command["on"]

    def do_say(self, command):
        self.offered |= command["text"].startswith("offer 2")
        self.say(command["text"])

    def do_ack(self, command):
        stream = command.get("stream", f"{self.stream:016x}")
        self.say(f"ack {stream} {command['seq']}")
        if int(stream, 16) == self.stream and command["seq"] < self.expected:
            self.settle(command["seq"])

    def settle(self, seq):
        self.acked = max(self.acked, seq)
        self.unacknowledged = [(last, size) for last, size in self.unacknowledged if last > seq]

    def say(self, text):
        self.socket.send_multipart([self.agent, b"CTRL", text.encode()])

    def tell_message(self, frames):
        sender, *frames = frames
        match frames:
            case [b"CTRL", b"hello"]:
                self.agent = sender
                self.definitions = Definitions()
                self.offered = self.offer is not None
                # What was under way comes again.
                self.unacknowledged = []
                if self.expected is not None:
                    self.expected = self.acked + 1
                tell("hello")
                self.say("model")
                if self.offered:
                    self.say(f"offer 2 {self.offer}")
            case [b"METR", _, grid, (b"model" | b"metrics") as kind]:
                if sender == self.agent:
                    tell("grid", kind=kind.decode(), values=json.loads(grid))
            case [b"DATA", host, body]:
                if sender == self.agent:
                    assert self.offered, "it was not asked for"
                    self.take(host, body)
            case _:
                raise AssertionError(f"not a message of an agent: {frames}")

    def take(self, host, body):
        data, samples = self.definitions.read(body)
        assert self.stream in (None, data.stream), "another log"
        self.stream = data.stream
        lost = [(getattr(one, "from"), one.to, wire.Reason.Name(one.reason)) for one in data.lost]
        ranges = sorted([(one["seq"], one["seq"]) for one in samples] + [one[:2] for one in lost])
        for first, last in ranges:
            assert self.expected in (None, first), f"{first} comes, {self.expected} is next"
            assert last >= first > 0
            if self.expected is None:
                # A collector that is new begins where the agent does.
                self.acked = first - 1
            self.expected = last + 1
        self.unacknowledged.append((self.expected - 1, len(body)))
        tell(
            "data",
            host=host.decode(),
            bytes=len(body),
            definitions=wire.Data(series=data.series, schemas=data.schemas).ByteSize(),
            unacknowledged=sum(size for _, size in self.unacknowledged),
            behind=data.behind,
            now_from=data.now_from,
            samples=samples,
            lost=lost,
        )
        if self.acknowledging:
            self.do_ack({"seq": self.expected - 1})


if __name__ == "__main__":
    Collector().run()

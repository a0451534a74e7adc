#!/usr/bin/python3
"""An agent of the second wire: a DEALER (dealer.py) that keeps samples until they are acknowledged.

Answers `model` with its model, as protocol.md says, and keeps its log over `connect`, which makes a new
connection. Commands of its own:
  begin {host, stream?, later?}    says hello; `later` adds fields that no peer knows to all messages
  sample {sources, age?, now?}     takes a sample, as if it were `age` µs ago: sources is
                                   {SOURCE: [SERIES, ...]}, a series {name, labels?, kind?, unit?,
                                   description?, type?, value}; a value of null is one that is missing this
                                   time; `now` is whether it is also what is now (true)
                                   -> {seq, time}, time in µs since 1970
  lose {count, reason}             takes so many samples and loses them
  hold {on}                        keeps samples, or sends them; one message has all that are there
  log                              -> {next, acked, under_way, sent}
Events of its own:
  offered {window, ack}            what the collector has offered
  acked {seq}                      up to where the log has arrived
  word {text}                      any other word
"""

import time

from control import tell
from dealer import Dealer
from second_wire import MAX_BODY_BYTES, MAX_SAMPLES, bits_of, boot_id, code, wire

# An unknown field with the number 100, in front of whatever its message has.
LATER = b"\xa2\x06\x05later"


def micros(clock):
    return time.clock_gettime_ns(clock) // 1000


class Agent(Dealer):
    def __init__(self):
        super().__init__()
        self.host = None
        self.stream = 0x0123456789ABCDEF
        self.later = False
        self.boot = boot_id()
        self.series = {}
        self.schemas = {}
        # What was taken: (from, to, what), what with complete values.
        self.log = []
        self.next = 1
        self.acked = 0
        self.held = False
        self.link_is_new()

    def link_is_new(self):
        self.window = None
        self.told = set()
        self.sent = self.acked
        self.under_way = []

    def do_connect(self, command):
        self.link_is_new()
        super().do_connect(command)

    def do_begin(self, command):
        self.host = command["host"].encode()
        self.stream = command.get("stream", self.stream)
        self.later = command.get("later", False)
        self.socket.send_multipart([b"CTRL", b"hello"])

    def do_sample(self, command):
        sample = wire.Sample(
            seq=self.next,
            time=micros(time.CLOCK_REALTIME) - command.get("age", 0),
            boottime=micros(time.CLOCK_BOOTTIME) - command.get("age", 0),
            boot=self.boot,
        )
        values = []
        place = 0
        for source, told in command["sources"].items():
            ids = []
            for series in told:
                number, kind = self.id_of(series)
                ids.append(number)
                if series["value"] is None:
                    sample.absent.append(place)
                else:
                    values.append((number, kind, bits_of(kind, series["value"])))
                place += 1
            sample.schemas.append(self.schema_of(source, ids))
        self.log.append((self.next, self.next, (sample, values, command.get("now", True))))
        self.next += 1
        self.send_log()
        return {"seq": sample.seq, "time": sample.time}

    def do_lose(self, command):
        lost = wire.Lost(
            to=self.next + command["count"] - 1,
            reason=wire.Reason.Value(command["reason"]),
        )
        setattr(lost, "from", self.next)
        self.log.append((self.next, lost.to, lost))
        self.next = lost.to + 1
        self.send_log()

    def do_hold(self, command):
        self.held = command["on"]
        self.send_log()

    def do_log(self, command):
        return {
            "next": self.next,
            "acked": self.acked,
            "under_way": sum(size for _, size in self.under_way),
            "sent": self.sent,
        }

    def id_of(self, told):
        """The id of a series, and its type."""
        series = wire.Series(
            name=told["name"],
            kind=wire.Kind.Value(told.get("kind", "GAUGE")),
            unit=told.get("unit", ""),
            description=told.get("description", ""),
            type=wire.Type.Value(told.get("type", "FLOAT")),
        )
        for name, value in told.get("labels", {}).items():
            series.labels.add(name=name, value=value)
        what = series.SerializeToString(deterministic=True)
        if what not in self.series:
            series.id = len(self.series) + 1
            self.series[what] = series
        return self.series[what].id, series.type

    def schema_of(self, source, ids):
        what = (source, tuple(ids))
        if what not in self.schemas:
            schema = wire.Schema(id=len(self.schemas) + 1, source=source)
            schema.series.extend(b - a for a, b in zip([0, *ids], ids))
            self.schemas[what] = schema
        return self.schemas[what].id

    def send_log(self):
        """Sends what the window has room for."""
        while self.window is not None and not self.held:
            room = self.window - sum(size for _, size in self.under_way)
            body, last, told = self.body(min(room, MAX_BODY_BYTES))
            if body is None:
                return
            self.told |= told
            self.sent = last
            self.under_way.append((last, len(body)))
            self.socket.send_multipart([b"DATA", self.host, body])

    def body(self, room):
        """As many samples as fit into `room`, or one if nothing is under way; or None."""
        waiting = [entry for entry in self.log if entry[1] > self.sent]
        for count in range(min(len(waiting), MAX_SAMPLES), 0, -1):
            body, told = self.body_of(waiting[:count], len(waiting) - count)
            if len(body) <= room or (count == 1 and not self.under_way):
                return body, waiting[count - 1][1], told
        return None, None, None

    def body_of(self, entries, behind):
        data = wire.Data(
            stream=self.stream,
            sent_time=micros(time.CLOCK_REALTIME),
            sent_boottime=micros(time.CLOCK_BOOTTIME),
            sent_boot=self.boot,
            behind=behind,
        )
        told = set()
        before = {}
        for first, _, what in entries:
            if isinstance(what, wire.Lost):
                data.lost.append(what)
                continue
            sample, values, is_now = what
            for schema in self.schemas.values():
                if schema.id in sample.schemas:
                    self.define(data, schema, told)
            coded = data.samples.add()
            coded.CopyFrom(sample)
            for number, kind, bits in values:
                coded.values.append(code(kind, before.get(number, 0), bits))
                before[number] = bits
            if len(data.samples) > 1:
                # As that of the sample before.
                coded.boot = b""
            if is_now and behind == 0 and first == entries[-1][0]:
                data.now_from = first
        if self.later:
            for part in (*data.series, *data.schemas, *data.samples, *data.lost):
                part.MergeFromString(LATER)
        return (LATER if self.later else b"") + data.SerializeToString(), told

    def define(self, data, schema, told):
        """Tells a schema and its series, where this connection does not know them."""
        number = 0
        series = list(self.series.values())
        for difference in schema.series:
            number += difference
            if ("series", number) not in self.told | told:
                told.add(("series", number))
                data.series.add().CopyFrom(series[number - 1])
        if ("schema", schema.id) not in self.told | told:
            told.add(("schema", schema.id))
            data.schemas.add().CopyFrom(schema)

    def tell_message(self, frames):
        tag, word = frames
        assert tag == b"CTRL", frames
        text = word.decode()
        match text.split(" "):
            case ["model"]:
                model = b'{"agent.version": "9.9.9", "agent.wire": 2}'
                self.socket.send_multipart([b"METR", self.host, model, b"model"])
            case ["offer", "2", *parameters]:
                known = dict(one.split("=", 1) for one in parameters if "=" in one)
                self.window = int(known["window"])
                tell("offered", window=self.window, ack=known["ack"])
            case ["ack", stream, seq]:
                assert len(stream) == 16 and int(stream, 16) == self.stream, text
                self.arrived(int(seq))
            case _:
                tell("word", text=text)
        self.send_log()

    def arrived(self, seq):
        assert self.acked <= seq <= self.sent, f"{self.acked}, {seq}, {self.sent}"
        self.acked = seq
        self.log = [entry for entry in self.log if entry[1] > seq]
        self.under_way = [(last, size) for last, size in self.under_way if last > seq]
        tell("acked", seq=seq)


if __name__ == "__main__":
    Agent().run()

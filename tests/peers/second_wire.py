"""The second wire, as docs/second-wire.md and src/protocol/data/data.proto tell it, and nothing else:
what those two leave out, no stranger's peer could know.

The messages are made from data.proto by protoc, whenever a peer starts.
"""

import importlib.util
import pathlib
import struct
import subprocess
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[2]

MAX_BODY_BYTES = 1024 * 1024
MAX_SAMPLES = 512
ALL_BITS = 2**64 - 1


def generated():
    """The module that protoc makes of data.proto."""
    source = TREE / "src/protocol/data"
    with tempfile.TemporaryDirectory() as out:
        protoc = ["protoc", f"--proto_path={source}", f"--python_out={out}", "data.proto"]
        subprocess.run(protoc, check=True)
        spec = importlib.util.spec_from_file_location("data_pb2", f"{out}/data_pb2.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


wire = generated()


def bits_of(kind, value):
    """A value as 64 bits."""
    if kind == wire.FLOAT:
        return struct.unpack("<Q", struct.pack("<d", value))[0]
    return value & ALL_BITS


def value_of(kind, bits):
    if kind == wire.FLOAT:
        return struct.unpack("<d", struct.pack("<Q", bits))[0]
    if kind == wire.SIGNED and bits >> 63:
        return bits - 2**64
    return bits


def reversed_bytes(bits):
    return int.from_bytes(bits.to_bytes(8, "little"), "big")


def code(kind, before, bits):
    """How 64 bits are told after those `before` of the same series."""
    if kind == wire.FLOAT:
        return reversed_bytes(bits ^ before)
    difference = (bits - before) & ALL_BITS
    if difference >> 63:
        difference -= 2**64
    # The zigzag code: 0, -1, 1, -2, ...
    return difference * 2 if difference >= 0 else -difference * 2 - 1


def decoded(kind, before, coded):
    if kind == wire.FLOAT:
        return reversed_bytes(coded) ^ before
    difference = coded // 2 if coded % 2 == 0 else -(coded // 2) - 1
    return (before + difference) & ALL_BITS


def boot_id():
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


class Definitions:
    """What an agent has told on a connection, as a collector reads it.

    Fails on everything that data.proto does not allow.
    """

    def __init__(self):
        self.series = {}
        self.schemas = {}

    def read(self, body):
        """A body's message, and its samples with their values by series."""
        assert len(body) <= MAX_BODY_BYTES, f"a body of {len(body)} bytes"
        data = wire.Data.FromString(body)
        assert data.stream != 0
        assert len(data.samples) + len(data.lost) <= MAX_SAMPLES
        assert data.sent_time > 0 and len(data.sent_boot) == 16
        for series in data.series:
            assert series.id > 0 and series.id not in self.series, series
            assert series.ByteSize() <= 8 * 1024
            self.series[series.id] = series
        for schema in data.schemas:
            assert schema.id > 0 and schema.id not in self.schemas, schema
            assert schema.ByteSize() <= 64 * 1024
            ids = []
            for difference in schema.series:
                ids.append((ids[-1] if ids else 0) + difference)
            self.schemas[schema.id] = ids
        before = {}
        boot = b""
        samples = []
        for number, sample in enumerate(data.samples):
            if sample.whole or number == 0:
                before = {}
            boot = sample.boot or boot
            assert len(boot) == 16
            samples.append({
                "seq": sample.seq,
                "time": sample.time,
                "boottime": sample.boottime,
                "boot": boot.hex(),
                "values": self.values(sample, before),
            })
        # What is let go is let go for the next message.
        for table, first in ((self.series, data.first_series), (self.schemas, data.first_schema)):
            for number in [number for number in table if number < first]:
                del table[number]
        return data, samples

    def values(self, sample, before):
        absent = set(sample.absent)
        assert list(sample.absent) == sorted(absent)
        ids = [number for schema in sample.schemas for number in self.schemas[schema]]
        assert len(sample.values) + len(absent) == len(ids), sample
        coded = iter(sample.values)
        values = {}
        for place, number in enumerate(ids):
            if place in absent:
                continue
            series = self.series[number]
            before[number] = decoded(series.type, before.get(number, 0), next(coded))
            name = name_of(series)
            assert name not in values, f"{name} is there twice"
            values[name] = told(series, before[number])
        return values


def name_of(series):
    """As the first wire names it: with its instance in brackets."""
    instances = [label.value for label in series.labels if label.name != "value"]
    assert len(instances) <= 1, series
    return series.name + "".join(f"[{instance}]" for instance in instances)


def told(series, bits):
    value = value_of(series.type, bits)
    if series.kind == wire.INFO:
        [text] = [label.value for label in series.labels if label.name == "value"]
        assert value == 1, series
        return text
    return value

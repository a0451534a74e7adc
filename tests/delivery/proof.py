# SPDX-License-Identifier: Apache-2.0
"""What Prometheus has of a host, and whether that is every sample, once and in order. Pure but for asking.

Owns the judgement. Knows no process: it is given an engine to ask and told what may be missing.

Each sample has two values that tell of itself: `agent.samples.total` is its number since the agent started,
and `sys.uptime` is when it was taken, by a clock that cannot be set.
"""

import json
import urllib.parse
from dataclasses import dataclass, field

NUMBER = "metrics_agent_self_samples_total"
UPTIME = "metrics_agent_sys_uptime_seconds"

# How far the time of a sample may be from the truth, in seconds.
TOLERATED = 0.05


class Fault(Exception):
    """What was promised did not hold."""


@dataclass(frozen=True)
class Sample:
    """One sample of a host: when it was taken as Prometheus has it, its number, and the time since boot."""

    at: float
    number: int
    uptime: float


@dataclass
class Verdict:
    """What there is of a host."""

    samples: list
    # Where numbers are left out: those of the samples before and after.
    holes: list = field(default_factory=list)
    # Samples whose number does not go on: the agent was started again. The samples before and after.
    starts: list = field(default_factory=list)
    # Samples that came twice.
    twice: list = field(default_factory=list)
    # How far each sample's time is from the truth, in seconds.
    errors: list = field(default_factory=list)

    @property
    def missing(self):
        """How many samples are missing between others of one run."""
        return sum(after.number - before.number - 1 for before, after in self.holes)

    def wrong_times(self):
        """The samples whose time is wrong, as errors in seconds."""
        return [error for error in self.errors if abs(error) > TOLERATED]

    def __str__(self):
        worst = max((abs(error) for error in self.errors), default=0)
        text = f"{len(self.samples)} samples, {self.missing} missing, {len(self.twice)} twice, "
        if self.starts:
            text += f"{len(self.starts)} starts, "
        return text + f"times right to {worst * 1000:.0f} ms"


def judge(samples, zero):
    """Looks at a host's samples, in the order of their times. `zero(at)` is when the host was booted, by
    the true clock at that time."""
    verdict = Verdict(samples)
    for before, after in zip(samples, samples[1:]):
        if after.number == before.number + 1:
            continue
        if after.number > before.number:
            verdict.holes.append((before, after))
        elif after.number == 1 and after.uptime != before.uptime:
            verdict.starts.append((before, after))
        elif any(one.number == after.number and one.uptime == after.uptime for one in samples if one != after):
            verdict.twice.append(after)
        else:
            # A later run whose first samples are missing.
            verdict.starts.append((before, after))
    verdict.errors = [one.at - one.uptime - zero(one.at) for one in samples]
    return verdict


def query(text, time):
    """The path of a question to Prometheus."""
    return "/api/v1/query?" + urllib.parse.urlencode({"query": text, "time": f"{time:.3f}"})


def samples(answer):
    """The samples of each host in an answer to [`question`]."""
    series = {}
    for one in json.loads(answer)["data"]["result"]:
        metric = one["metric"]
        values = {float(at): float(value) for at, value in one["values"]}
        series.setdefault(metric["host"], {})[metric["__name__"]] = values
    found = {}
    for host, of in series.items():
        numbers, uptimes = of.get(NUMBER, {}), of.get(UPTIME, {})
        alone = sorted(numbers.keys() ^ uptimes.keys())
        if alone:
            raise Fault(f"{host}: of {len(alone)} samples one of two values is missing, first at {alone[0]}")
        found[host] = [Sample(at, int(numbers[at]), uptimes[at]) for at in sorted(numbers)]
    return found


def question(begin, end, hosts="host.*"):
    """Asks for everything of these hosts that was taken in a span of time."""
    span = max(int(end - begin), 1)
    return query(f'{{__name__=~"{NUMBER}|{UPTIME}",host=~"{hosts}"}}[{span}s]', end)

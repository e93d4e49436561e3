"""A polite caller among greedy ones: what it gets of the server, of its fair share.

Each caller has an API key. The greedy have several calls at once and come again at once when they are refused; the polite one has one
call at a time, and comes again when it was told to.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from bench.load import photos
from bench.load.calls import FULL, OK, PATIENCE, SERVICE, Done, Send, close_all, connect, outcome, timed
from bench.load.loops import milliseconds, outcomes, quantile, seconds_of, unknown
from bench.load.report import Report
from bench.load.server import Server
from dorian.v1 import face_aging_pb2 as pb
from dorian_server.security.keys import make_key, write_keys

_WANTED = 0.5  # of the fair share
_PAUSE, _POLITE_PAUSE = 0.01, 0.1  # seconds after which a refused caller comes again


@dataclass(frozen=True)
class Plan:
    """How many greedy callers there are, how many calls each of them has at once, and for how many seconds."""

    greedy: int = 30
    at_once: int = 3
    seconds: float = 30.0


@contextmanager
def keys_of(plan: Plan) -> Iterator[tuple[Path, list[str]]]:
    """A file of API keys for the time of the context, and the keys, the polite caller's first."""
    names = ["polite", *(f"greedy-{number}" for number in range(plan.greedy))]
    keys = [make_key(name, frozenset({"age"}), None, None) for name in names]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        write_keys(file, [entry for _, entry in keys])
        yield file, [key for key, _ in keys]


async def fairness(server: Server, plan: Plan, keys: Sequence[str]) -> Report:
    channels = [connect(server.address) for _ in keys]
    sends = [_ageing(channel, key) for channel, key in zip(channels, keys, strict=True)]
    end = time.perf_counter() + plan.seconds
    loops = [_again_and_again(sends[0], end, _POLITE_PAUSE)]
    loops += [_again_and_again(send, end, _PAUSE) for send in sends[1:] for _ in range(plan.at_once)]
    polite, *others = await asyncio.gather(*loops)
    await close_all(channels)
    firsts = range(0, len(others), plan.at_once)
    greedy = [[done for loop in others[first : first + plan.at_once] for done in loop] for first in firsts]
    return _report(plan, polite, greedy)


def _ageing(channel: grpc.aio.Channel, key: str) -> Send:
    """One photo to one age, with an API key."""
    request = pb.AgeTransformRequest(image=pb.Image(data=photos.head()), targets=[pb.Age(group="60+")])
    data, call = request.SerializeToString(), channel.unary_unary(f"{SERVICE}AgeTransform")
    metadata = (("authorization", f"Bearer {key}"),)
    return lambda: outcome(call(data, timeout=PATIENCE, metadata=metadata))


async def _again_and_again(send: Send, end: float, pause: float) -> list[Done]:
    done: list[Done] = []
    while time.perf_counter() < end:
        done.append(await timed(send))
        if done[-1].outcome != OK:
            await asyncio.sleep(pause)
    return done


def _report(plan: Plan, polite: list[Done], greedy: list[list[Done]]) -> Report:
    everything = [done for caller in [polite, *greedy] for done in caller]
    served = [len(seconds_of(caller)) for caller in [polite, *greedy]]
    fair = sum(served) / len(served)
    report = Report(f"fairness: a polite caller among {plan.greedy} greedy ones for {plan.seconds:g} s")
    report.tell("calls served, refused", f"{sum(served)}, {outcomes(everything).get(FULL, 0)}")
    report.tell("fair share", f"{fair:.1f} calls")
    report.tell("of the greedy, the least and the most", f"{min(served[1:])}, {max(served[1:])} calls")
    met = served[0] >= _WANTED * fair
    seen = f"{served[0]} calls, {served[0] / fair if fair else 0:.2f} of its share"
    report.require("the polite caller", seen, f">= {_WANTED:g}", met)
    seconds = seconds_of(polite)
    report.tell(
        "its calls p50, p99", f"{milliseconds(quantile(seconds, 0.5))}, {milliseconds(quantile(seconds, 0.99))}"
    )
    strange = unknown(everything)
    report.require("other outcomes", strange or "none", "none", not strange)
    report.figures |= {"fair_share": fair, "polite": served[0], "greedy": served[1:], "outcomes": outcomes(everything)}
    return report

"""Calls and their outcomes: ``OK``, a reason of the contract, or gRPC's status where there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from bench.load import photos
from dorian.v1 import face_aging_pb2 as pb

OK, FULL, LEFT, LOST = "OK", "QUEUE_FULL", "CANCELLED", "no answer"
PATIENCE = 60.0  # seconds; a call that has none by then has lost its answer
SERVICE = "/dorian.v1.FaceAging/"
_DETAILS = "grpc-status-details-bin"
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),  # as the SDK has it
)

Send = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Done:
    """A call that is over: its ``outcome``, when it was sent, by ``time.perf_counter``, and how long it took."""

    outcome: str
    sent: float
    seconds: float

    @property
    def ended(self) -> float:
        return self.sent + self.seconds


def connect(address: str) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


def connect_all(address: str, count: int) -> list[grpc.aio.Channel]:
    return [connect(address) for _ in range(count)]


async def close_all(channels: Sequence[grpc.aio.Channel]) -> None:
    for channel in channels:
        await channel.close()


def ageing(channel: grpc.aio.Channel, photo: bytes | None = None) -> Send:
    """One photo to one age. The answer is not unpacked, so that the caller has little to do."""
    request = pb.AgeTransformRequest(image=pb.Image(data=photo or photos.person()), targets=[pb.Age(group="60+")])
    data, call = request.SerializeToString(), channel.unary_unary(f"{SERVICE}AgeTransform")
    return lambda: outcome(call(data, timeout=PATIENCE))


async def outcome(call: Awaitable[Any]) -> str:
    """What becomes of ``call``."""
    try:
        await asyncio.wait_for(call, PATIENCE + 5)
    except TimeoutError:
        return LOST
    except asyncio.CancelledError:
        return LEFT
    except grpc.aio.UsageError:  # its channel has been closed
        return LEFT
    except grpc.aio.AioRpcError as error:
        return word_of(error)
    return OK


async def timed(send: Send) -> Done:
    sent = time.perf_counter()
    word = await send()
    return Done(word, sent, time.perf_counter() - sent)


def word_of(error: grpc.aio.AioRpcError) -> str:
    """The reason that ``error`` carries, or the name of its status."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS:
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return info.reason
    return error.code().name

"""Signals as they come to the process: none is lost, and one to stop ends what takes long."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from dorian_server.cli.signals import SignalQueue

STOPS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def signals() -> Iterator[SignalQueue]:
    heard = (*STOPS, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in heard}
    yield SignalQueue()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_they_come_in_their_order(signals: SignalQueue) -> None:
    sent = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
    for number in sent:
        signal.raise_signal(number)
    assert [signals.next() for _ in sent] == sent


def test_one_that_another_thread_gets_comes_too(signals: SignalQueue) -> None:
    """The main thread waits, and is not the one that the system interrupts."""
    other = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGHUP))
    timer = threading.Timer(0.2, other.start)
    timer.start()
    assert signals.next() == signal.SIGHUP
    timer.join()
    other.join()


@pytest.mark.parametrize("number", STOPS)
def test_one_to_stop_ends_what_may_be_interrupted(signals: SignalQueue, number: signal.Signals) -> None:
    done = []
    with signals.interrupting():
        done.append("begun")
        signal.raise_signal(number)
        done.append("ended")
    assert done == ["begun"]
    assert signals.next() == number


def test_one_to_reload_waits(signals: SignalQueue) -> None:
    done = []
    with signals.interrupting():
        signal.raise_signal(signal.SIGHUP)
        done.append("ended")
    assert done == ["ended"]
    assert signals.next() == signal.SIGHUP


def test_what_cleans_up_is_not_interrupted_again(signals: SignalQueue) -> None:
    done = []
    with signals.interrupting():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            done.append("cleaned up")
    assert done == ["cleaned up"]


def test_afterwards_nothing_is_interrupted(signals: SignalQueue) -> None:
    with signals.interrupting():
        pass
    signal.raise_signal(signal.SIGTERM)
    assert signals.next() == signal.SIGTERM


def test_errors_are_not_swallowed(signals: SignalQueue) -> None:
    with pytest.raises(ValueError, match="wrong"), signals.interrupting():
        raise ValueError("wrong")


def test_several_hangups_are_one_and_no_stop_is_lost_among_them(signals: SignalQueue) -> None:
    for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert [signals.next(), signals.next()] == [signal.SIGHUP, signal.SIGTERM]

"""Processes find each other, or each is told in one line who is missing or does not fit."""

import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from signbind_jax.distributed.rendezvous import call_roll
from signbind_jax.errors import SignBindError
from tests.multiprocess.together import free_port


@pytest.fixture
def coordinator() -> str:
    return f"127.0.0.1:{free_port()}"


def called(coordinator: str, places: list[tuple[int, int]], timeout_s: float) -> list[str]:
    """What the roll call ends in for each (processes in all, process); empty where all came."""

    def one(place):
        try:
            call_roll(coordinator, *place, timeout_s)
        except SignBindError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(places)) as pool:
        return list(pool.map(one, places, timeout=300))


def come_and(coordinator: str, said: bytes) -> socket.socket:
    """A connection to process 0 that has said something."""
    host, port = coordinator.split(":")
    while True:
        try:
            connection = socket.create_connection((host, int(port)), timeout=5)
            break
        except ConnectionRefusedError:
            continue
    with contextlib.suppress(ConnectionError):  # it may hang up in the middle
        connection.sendall(said)
    return connection


def test_all_that_came_are_told_who_did_not(coordinator):
    for said in called(coordinator, [(4, 0), (4, 2)], timeout_s=5):
        assert "found no process 1, 3 of 4 within 5 s" in said


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([(3, 0), (3, 1), (3, 1)], "--process_id: found 1 on "),
        ([(2, 0), (3, 1)], "--num_processes: found 3 on process 1 "),
    ],
)
def test_processes_that_do_not_fit_together_are_told_why(coordinator, places, said):
    told = called(coordinator, places, timeout_s=5)
    # Process 0 goes on waiting: anybody may have said that. What it waited for it tells with it.
    assert "found no process" in told[0] and said in told[0]
    assert any(other.startswith(said) for other in told[1:])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x" * 100_000,
        b"[" * 4000 + b"\n",
        b'{"process": 1, "of": 9, "host": "a stranger"}\n',
        b'{"process": 0, "of": 3, "host": "a stranger"}\n',
        b'{"process": null}\n',
    ],
)
def test_strangers_neither_end_the_roll_call_nor_use_up_its_time(coordinator, line):
    with ThreadPoolExecutor(3) as pool, ExitStack() as strangers:
        # Each of them, waited for, would take five seconds.
        first = pool.submit(call_roll, coordinator, 3, 0, 20)
        for _ in range(20):
            strangers.enter_context(come_and(coordinator, line))
        others = [pool.submit(call_roll, coordinator, 3, i, 20) for i in (1, 2)]
        first.result(timeout=300)
        with socket.create_server(("127.0.0.1", int(coordinator.split(":")[1]))):
            for other in others:
                other.result(timeout=300)


def test_strangers_and_processes_that_went_again_are_not_counted(coordinator):
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(call_roll, coordinator, 3, 0, 20)
        with come_and(coordinator, b"GET / HTTP/1.1\r\n\r\n"):
            come_and(coordinator, b"").close()
            come_and(
                coordinator, json.dumps({"process": 1, "of": 3, "host": "a"}).encode() + b"\n"
            ).close()
            second = pool.submit(call_roll, coordinator, 3, 2, 20)
            assert not first.done()
            third = pool.submit(call_roll, coordinator, 3, 1, 20)
            # All have come; what they wait for now is the door that JAX would open.
            first.result(timeout=300)
            with socket.create_server(("127.0.0.1", int(coordinator.split(":")[1]))):
                second.result(timeout=300)
                third.result(timeout=300)


def test_a_port_that_is_taken_is_told_on_process_0(coordinator):
    with socket.create_server(
        ("", int(coordinator.split(":")[1])), family=socket.AF_INET6, dualstack_ipv6=True
    ):
        (said,) = called(coordinator, [(2, 0)], timeout_s=1)
    assert f"--coordinator: {coordinator}: process 0 cannot listen" in said

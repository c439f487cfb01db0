"""Reading ahead: the same batches in the same order, errors where they belong, no thread left."""

import itertools
import threading

import pytest

from signbind_jax.data.read_ahead import read_ahead


def test_batches_come_in_order_from_any_start_with_and_without_an_end():
    assert list(read_ahead(str, 3, 9)) == [str(i) for i in range(3, 9)]
    assert list(read_ahead(str, 5, 5)) == []
    assert list(itertools.islice(read_ahead(str, 7), 30)) == [str(i) for i in range(7, 37)]


def test_the_next_batch_is_made_before_it_is_asked_for():
    made = threading.Event()
    batches = read_ahead(lambda i: made.set() if i == 1 else i, 0, 4)
    assert next(batches) == 0
    assert made.wait(300)


def test_an_error_is_raised_at_its_own_batch():
    batches = read_ahead(lambda i: 1 // (2 - i), 0, 9)
    assert next(batches) == 0 and next(batches) == 1
    with pytest.raises(ZeroDivisionError):
        next(batches)


def test_batches_nobody_wants_any_more_leave_no_thread():
    def ours():
        return [t for t in threading.enumerate() if t.name.startswith("read-ahead")]

    batches = read_ahead(str, 0)
    next(batches)
    threads = ours()
    assert threads
    batches.close()
    for thread in threads:
        thread.join(30)
    assert not ours()

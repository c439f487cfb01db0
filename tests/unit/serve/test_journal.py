"""The ids of jobs on disk outlive the process that wrote them."""

import uuid

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.serve import journal
from signbind_jax.serve.journal import Journal
from tests.unit.serve.full_disk import no_file_larger_than


def ids(n: int) -> list[str]:
    return [uuid.uuid4().hex for _ in range(n)]


def test_what_was_taken_on_and_not_forgotten_is_lost_to_the_next(tmp_path):
    path, (first, second, third) = tmp_path / "jobs", ids(3)
    one = Journal(path)
    for job_id in (first, second, third):
        one.add(job_id)
    one.forget(second)
    # No close: the process was killed, in the middle of a line.
    with path.open("a") as file:
        file.write("+0123")
    two = Journal(path)
    assert two.lost == [first, third]
    two.forget(first)
    assert Journal(path).lost == [third]


def test_a_file_of_forgotten_jobs_does_not_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_MOST_LINES", 10)
    path, (kept, *others) = tmp_path / "jobs", ids(40)
    one = Journal(path)
    one.add(kept)
    for job_id in others:
        one.add(job_id)
        one.forget(job_id)
    assert len(path.read_text().splitlines()) <= 12
    assert Journal(path).lost == [kept]


def test_a_job_that_is_noted_in_part_is_not_taken_on(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_MOST_LINES", 2)
    path, (first, second, third) = tmp_path / "jobs", ids(3)
    one = Journal(path)
    one.add(first)
    with no_file_larger_than(path.stat().st_size + 10):
        for _ in range(2):
            with pytest.raises(OSError, match="No space left|File too large"):
                one.add(second)
    one.add(third)
    assert Journal(path).lost == [first, third]


def test_a_journal_that_cannot_be_written_anew_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "_MOST_LINES", 10)
    path, (kept, *others) = tmp_path / "jobs", ids(20)
    one = Journal(path)
    one.add(kept)
    monkeypatch.setattr(journal.files, "write", refuse)
    for job_id in others:
        one.add(job_id)
        one.forget(job_id)
    monkeypatch.undo()
    assert Journal(path).lost == [kept]


def refuse(path, data):
    raise SignBindError(f"{path}: not written")

"""What of a checkout goes to other machines."""

import os
import subprocess
import tarfile

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.launch import snapshot
from signbind_jax.launch.snapshot import Snapshot


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "t")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "t@example.org")
    place = tmp_path / "-checkout $(id)"
    place.mkdir()
    (place / "model.py").write_text("width = 1\n")
    commit(place, "init", "-q")
    commit(place, "add", ".")
    commit(place, "commit", "-qm", "first")
    return place


def commit(place, *arguments):
    subprocess.run(["git", *arguments], cwd=place, check=True)


def names_in(archive) -> set[str]:
    with tarfile.open(archive) as tar:
        return {member.name for member in tar if not member.isdir()}


def test_secrets_that_git_tracks_stay_here_and_are_told(checkout, tmp_path):
    odd = "sub/a b\n*[.pem"
    (checkout / "sub").mkdir()
    for name in (".env", ".env.example", "sub/.env.local", odd, "sub/key.py"):
        (checkout / name).write_text("x")
    commit(checkout, "add", ".")
    found = Snapshot.of(checkout)
    found.pack(tmp_path / "a.tar.gz")
    prefix = "signbind-jax/"
    assert names_in(tmp_path / "a.tar.gz") == {
        prefix + "model.py",
        prefix + ".env.example",
        prefix + "sub/key.py",
    }
    assert "3 tracked files" in found.note and "'.env'" in found.note and "\n" not in found.note
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "sub/../../x"])
def test_a_link_that_leads_out_is_refused(checkout, target):
    os.symlink(target, checkout / "link")
    commit(checkout, "add", ".")
    with pytest.raises(SignBindError, match="'link': found a link to .* wanted none that leads"):
        Snapshot.of(checkout)


def test_data_in_the_repository_is_not_sent_to_every_worker(checkout, monkeypatch):
    monkeypatch.setattr(snapshot, "_MOST_BYTES", 5)
    with pytest.raises(SignBindError, match="found 10 bytes of tracked files, wanted at most 5"):
        Snapshot.of(checkout)


def test_looking_for_a_dry_run_writes_nothing(checkout):
    (checkout / "model.py").write_text("width = 2\n")

    def state():
        return {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}

    before = state()
    assert "with uncommitted changes" in Snapshot.of(checkout, dry_run=True).note
    assert state() == before

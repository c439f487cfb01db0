"""What browsers find landmarks with: fetched by npm, checked, refused in one line."""

import hashlib
import io
import tarfile

import pytest

from signbind_jax.errors import SignBindError
from signbind_jax.serve import holistic
from signbind_jax.serve.holistic import NpmPackage
from tests.conftest import signbind

FILES = {"model.js": b"finds", "model.wasm": bytes(100)}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two files that an `npm` on the PATH gives."""
    archive = tmp_path / "registry.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in {**FILES, "not_served.js": b"more"}.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\ncp "{archive}" "${{3#--pack-destination=}}/given.tgz"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")
    digest = hashlib.sha512(archive.read_bytes()).hexdigest()
    return NpmPackage("@of/tests", "1.2.3", digest, tuple(FILES))


def test_the_files_are_fetched_once_and_whole(package, tmp_path):
    out = tmp_path / "cache" / "holistic"
    assert holistic.ready(out, package) == out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == FILES
    (tmp_path / "bin" / "npm").unlink()
    assert holistic.ready(out, package) == out
    assert [path.name for path in out.parent.iterdir()] == ["holistic"]


def test_what_cannot_be_had_is_one_line_and_leaves_nothing(package, tmp_path, monkeypatch):
    def fault(wanted=package, out=tmp_path / "cache" / "holistic") -> str:
        with pytest.raises(SignBindError) as caught:
            holistic.ready(out, wanted)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    other = NpmPackage(package.name, package.version, "0" * 128, package.files)
    assert "@of/tests@1.2.3: found sha512 " in fault(other)
    npm = tmp_path / "bin" / "npm"
    npm.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    assert "npm pack @of/tests@1.2.3: npm error code ENOTFOUND" in fault()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "found no npm on the PATH" in fault()
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "torn").mkdir()
    assert "torn: found no model.js, wanted the files of @of/tests 1.2.3" in fault(
        out=tmp_path / "torn"
    )


def test_a_server_does_not_start_with_what_it_would_not_use():
    done = signbind("serve", "--checkpoint=x", "--holistic=x", check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "signbind: error: --holistic: found it with --landmarks=server, wanted browser\n"
    )

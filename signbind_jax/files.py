"""Files that may come from anybody: read within limits, written whole or not at all.

Whoever reads JSON, text or arrays from disk reads them here, so that a damaged, huge or hostile
file always ends in one line that names it, before it takes memory or time.
"""

import contextlib
import gzip
import json
import math
import os
import re
import stat
import sys
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from signbind_jax.errors import SignBindError

if TYPE_CHECKING:  # the launchers read JSON where numpy is not installed
    import numpy as np

TEXT_BYTES = 2**26  # of a text or JSON file, unless its reader expects more
ARRAY_BYTES = 2**28  # of all arrays of an .npz file, unpacked
# Brackets and commas of a JSON file: each may become an object of about 70 bytes.
JSON_VALUES = 10_000_000
# Words and numbers pack to a tenth; a thousandth is nothing but repetition.
_UNPACKED_BYTES, _MOST_RATIO = 2**26, 50
_GZIP = b"\x1f\x8b"  # how such files begin
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_TYPES = {
    stat.S_ISDIR: "a directory",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def user_cache(name: str) -> Path:
    """Where something of that name is kept between runs: in this package's part of the user's
    cache, which lies in `$XDG_CACHE_HOME` or `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "signbind_jax" / name


def check_regular(path: Path | str) -> int:
    """The size in bytes of a regular file; opening anything else might wait for ever.

    Raises:
      SignBindError: nothing there, or no regular file.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or error
        raise SignBindError(f"{path}: cannot be read: {reason}") from error
    for is_type, found in _TYPES.items():
        if is_type(status.st_mode):
            raise SignBindError(f"{path}: found {found}, wanted a file")
    return status.st_size


def read_bytes(path: Path | str, limit: int = TEXT_BYTES) -> bytes:
    """The content of a regular file of at most `limit` bytes.

    Raises:
      SignBindError: nothing there, no regular file, one that is too large or cannot be read.
    """
    size = check_regular(path)
    if size <= limit:
        try:
            with open(path, "rb") as file:
                data = file.read(size + 1)  # not `limit`: as much memory would be taken first
        except OSError as error:
            raise SignBindError(f"{path}: cannot be read: {error.strerror or error}") from error
        if len(data) <= size:
            return data
        raise SignBindError(f"{path}: grew while it was read: try again")
    raise SignBindError(f"{path}: found {size:,} bytes, wanted at most {limit:,}")


def read_unpacked(path: Path | str, limit: int) -> bytes:
    """The content of a regular file, unpacked where it is one of gzip, of at most `limit` bytes.

    Raises:
      SignBindError: as `read_bytes`; it cannot be unpacked.
    """
    limit = min(limit, max(_UNPACKED_BYTES, _MOST_RATIO * check_regular(path)))
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            # A few kilobytes of gzip may unpack to gigabytes: no more than allowed is unpacked.
            data = gzip.GzipFile(fileobj=file).read(limit + 1) if packed else file.read(limit + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise SignBindError(f"{path}: cannot be unpacked ({error}): fetch it again") from error
    except OSError as error:
        raise SignBindError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise SignBindError(f"{path}: found more than {limit} bytes unpacked, wanted at most that")
    return data


def read_text(path: Path | str, limit: int = TEXT_BYTES) -> str:
    """A UTF-8 file without its byte order mark, line ends as they are.

    Raises:
      SignBindError: as `read_bytes`; not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SignBindError(
            f"{path}: byte {error.start} is not UTF-8: copy the file again"
        ) from error


def read_json(path: Path | str, limit: int = TEXT_BYTES, values: int = JSON_VALUES) -> Any:
    """The value of a JSON file.

    Raises:
      SignBindError: as `read_bytes`; see `parse_json`.
    """
    return parse_json(read_bytes(path, limit), str(path), values)


def parse_json(data: bytes | str, where: str, values: int = JSON_VALUES) -> Any:
    """The value of a JSON text; `where` names its source in errors.

    Raises:
      SignBindError: not UTF-8, not JSON, nested too deeply, with too many values, or with half
        a surrogate pair, which no text may hold.
    """
    data = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    nodes = sum(data.count(mark) for mark in (b"[", b"{", b","))
    if nodes > values:
        raise SignBindError(f"{where}: found {nodes:,} values, wanted at most {values:,}")
    try:
        value = json.loads(data.decode("utf-8-sig"))
        if _LONE_SURROGATE.search(data):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise SignBindError(f"{where}: not readable as JSON (nested too deeply)") from None
    except ValueError as error:  # of decoding, of JSON, of a number of 4,300 digits
        line = " ".join(str(error).split())[:160]
        raise SignBindError(f"{where}: not readable as JSON ({line})") from error
    return value


def field(record: Any, name: str, kind: type, where: str) -> Any:
    """The value of a field of a JSON object.

    Args:
      record: what should be the object.
      kind: bool, int, float (whole numbers count), str, list or dict.
      where: what an error calls the object, such as its file's name.

    Raises:
      SignBindError: no object, no such field, a value of another type or a number that is not
        finite.
    """
    if not isinstance(record, Mapping):
        raise SignBindError(f"{where}: found {shorten(record)}, wanted an object with {name!r}")
    if name not in record:
        raise SignBindError(f"{where}: {name}: found nothing, wanted {kind.__name__}")
    value = record[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number if kind is float else isinstance(value, kind)
    finite = not number or abs(value) <= sys.float_info.max  # NaN is not, nor is 10**400
    if not fits or (kind is int and not number) or not finite:
        raise SignBindError(f"{where}: {name}: found {shorten(value)}, wanted {kind.__name__}")
    return float(value) if kind is float else value


def read_arrays(
    path: Path | str, names: Collection[str] | None = None, limit: int = ARRAY_BYTES
) -> "dict[str, np.ndarray]":
    """The arrays of an `.npz` file; declared sizes are checked before anything is unpacked.

    Args:
      names: which of them, where they are there; None: all.
      limit: bytes of all these arrays together.

    Raises:
      SignBindError: as `read_bytes`; no `.npz` file, a damaged one, arrays of Python objects, or
        more than `limit` bytes.
    """
    check_regular(path)
    with _unpacking(path), zipfile.ZipFile(path) as archive:
        chosen = _members(archive, names)
        size = sum(member.file_size for member in chosen.values())
        if size > limit:
            raise SignBindError(f"{path}: found arrays of {size:,} bytes, wanted at most {limit:,}")
        return {name: _read_array(archive, member) for name, member in chosen.items()}


@contextlib.contextmanager
def open_rows(path: Path | str, names: Collection[str]) -> "Iterator[dict[str, ArrayRows]]":
    """Arrays of an `.npz` file to be read row after row, in memory that does not depend on their
    length.

    Args:
      names: which of them, where they are there.

    Raises:
      SignBindError: as `read_arrays`, while rows are read too; an array stored by columns.
    """
    check_regular(path)
    with _unpacking(path), zipfile.ZipFile(path) as archive, contextlib.ExitStack() as stack:
        opened = {}
        for name, member in _members(archive, names).items():
            file = stack.enter_context(archive.open(member))
            opened[name] = ArrayRows(file, member)
        yield opened


class ArrayRows:
    """An array of an open `.npz` file, whose rows are taken from the first on.

    Attributes:
      shape, dtype: of the whole array, which has at least one axis.
      row_bytes: size of a row.
    """

    def __init__(self, file: IO[bytes], member: zipfile.ZipInfo):
        self.shape, in_columns, self.dtype = _read_header(file, member)
        if in_columns and len(self.shape) > 1 or not self.shape:
            raise ValueError(f"{member.filename}: an array without rows")
        self._file = file
        self.row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def take(self, n: int) -> "np.ndarray":
        """The next `n` rows; all must be there."""
        import numpy as np

        data = self._file.read(n * self.row_bytes)
        if len(data) != n * self.row_bytes:
            raise EOFError(f"found {len(data)} bytes, wanted {n} rows")
        return np.frombuffer(bytearray(data), self.dtype).reshape(n, *self.shape[1:])


def _members(archive: zipfile.ZipFile, names: Collection[str] | None) -> dict[str, zipfile.ZipInfo]:
    """The arrays of an `.npz` file by name, where `names` says so."""
    members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
    named = {member.filename.removesuffix(".npy"): member for member in members}
    return named if names is None else {name: m for name, m in named.items() if name in names}


@contextlib.contextmanager
def _unpacking(path: Path | str) -> Iterator[None]:
    """Tells whatever a damaged `.npz` file makes libraries raise as one error."""
    try:
        yield
    except SignBindError:
        raise
    except (
        OSError,
        ValueError,
        TypeError,  # of a dtype's description
        SyntaxError,
        tokenize.TokenError,  # as of a header that is cut off
        KeyError,
        EOFError,
        NotImplementedError,  # an unknown compression
        RuntimeError,  # an encrypted member
        OverflowError,
        RecursionError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise SignBindError(f"{path}: cannot be read as .npz ({line}): make it again") from error


def _read_header(
    file: IO[bytes], member: zipfile.ZipInfo
) -> "tuple[tuple[int, ...], bool, np.dtype]":
    """Shape, whether columns stand in a row, and type of an array, once they can be its bytes'."""
    import numpy as np

    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"{member.filename}: format {version}")
    shape, in_columns, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename}: an array of Python objects")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename}: {dtype} {shape} in {member.file_size} bytes"[:100])
    return shape, in_columns, dtype


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> "np.ndarray":
    import numpy as np

    with archive.open(member) as file:
        shape, in_columns, dtype = _read_header(file, member)
        wanted = math.prod(shape) * dtype.itemsize
        data = bytearray(file.read(wanted))
        if len(data) < wanted or file.read(1):  # reading to the end checks the member's CRC
            raise ValueError(f"{member.filename}: found other than {wanted} bytes")
    array = np.frombuffer(data, dtype) if dtype.itemsize else np.empty(math.prod(shape), dtype)
    return array.reshape(shape, order="F" if in_columns else "C")


def write(path: Path | str, data: str | bytes) -> None:
    """Puts a file in place with all of its content, or leaves what was there as it was.

    Raises:
      SignBindError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of `path` where all went well.

    Raises:
      SignBindError: it cannot be written; something there that is no file.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        if path.parent == Path("/dev"):  # root would replace /dev/null for everybody
            raise SignBindError(f"{path}: found a device, wanted a file")
        if path.exists():
            check_regular(path)
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise SignBindError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def trying_to_lock(path: Path, shared: bool = False) -> Iterator[int | None]:
    """A descriptor that keeps others from a file or directory; None where another has it.

    The lock lasts as long as any process holds the descriptor: one that has inherited it keeps it
    when its parent is killed. On file systems without locks every try succeeds.

    Args:
      shared: for processes that work at one thing together.
    """
    import fcntl

    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o644)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError:  # no locks here
            pass
        yield descriptor
    finally:
        os.close(descriptor)


def write_json(path: Path | str, value: Any) -> None:
    """As `write`, the value as indented JSON."""
    write(path, json.dumps(value, indent=1) + "\n")


def shorten(value: Any) -> str:
    """A value as an error may show it: on one line of at most 60 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a number of 4,300 digits, an object that cannot be shown
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."

"""The header of a `.pose` file, checked before anything is made of what it declares."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from signbind_jax import keypoints
from signbind_jax.errors import SignBindError, from_extra

if TYPE_CHECKING:
    from pose_format.pose_header import PoseHeader
    from pose_format.utils.reader import BufferReader

MOST_BYTES = 2**20  # of a header
LONGEST_NAME = 100
_MOST_POINTS, _MOST_LIMBS = 2_000, 20_000  # the largest known scheme has 586 points


def read_header(data: bytes, path: Path) -> "tuple[PoseHeader, BufferReader, str]":
    """The header at the start of a `.pose` file, a reader that stands behind it, and its scheme.

    Args:
      data: the file, or at least its first `MOST_BYTES`.
      path: what errors call it.

    Raises:
      SignBindError: it is no `.pose` file, or its points are those of no known scheme.
    """
    with from_extra("corpora", "poses"):
        from pose_format.pose_header import PoseHeader
        from pose_format.utils.reader import BufferReader
    try:
        _check_header(data)
        reader = BufferReader(data)
        header = PoseHeader.read(reader)
    except Exception as error:  # the reader raises whatever its parsing of broken bytes meets
        raise not_a_pose(path, error) from error
    # It bounds what the body can be made of.
    scheme = keypoints.scheme_of([(c.name, c.points) for c in header.components], str(path))
    return header, reader, scheme


def not_a_pose(path: Path, error: Exception) -> SignBindError:
    """The error of a `.pose` file in which a library met what it cannot read."""
    line = " ".join(f"{type(error).__name__}: {error}".split())[:120]
    return SignBindError(f"{path}: cannot be read as a .pose file ({line}): export it again")


def _check_header(data: bytes) -> None:
    """Raises ValueError for a header larger than that of any scheme, before objects are made of it.

    https://github.com/sign-language-processing/pose/blob/master/docs/specs: version, size of the
    picture, components of a name, a format, points with names, limbs and colours.
    """
    at = 10

    def number() -> int:
        nonlocal at
        at += 2
        return struct.unpack_from("<H", data, at - 2)[0]

    def text() -> None:
        nonlocal at
        length = number()
        if length > LONGEST_NAME or not data[at : at + length].decode().isprintable():
            raise ValueError("a name that is none")
        at += length

    n_points = n_limbs = 0
    for _ in range(number()):
        text()
        text()
        points, limbs, colours = number(), number(), number()
        n_points, n_limbs = n_points + points, n_limbs + limbs + colours
        if n_points > _MOST_POINTS or n_limbs > _MOST_LIMBS:
            raise ValueError(f"{n_points} points, {n_limbs} limbs and colours")
        for _ in range(points):
            text()
        at += 4 * limbs + 6 * colours

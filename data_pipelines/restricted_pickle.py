"""Reading pickles without running what they say: containers, numbers, text and NumPy arrays."""

import gzip
import pickle
from pathlib import Path

from signbind_jax.errors import SignBindError

_GZIP = b"\x1f\x8b"
_ALLOWED = {
    "builtins": {"bytearray", "complex", "frozenset", "set"},
    "collections": {"OrderedDict"},
    "_codecs": {"encode"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        module = {"__builtin__": "builtins"}.get(module, module)
        if name not in _ALLOWED.get(module, ()):
            raise SignBindError(f"found {module}.{name}, wanted containers, numbers, text and "
                                "NumPy arrays alone")  # fmt: skip
        return super().find_class(module, name)


def load(path: Path) -> object:
    """What a pickle holds, plain or gzipped; nothing in it is run.

    Raises:
      SignBindError: no such file; it cannot be read; it asks for anything else than containers,
        numbers, strings, bytes and NumPy arrays.
    """
    try:
        with open(path, "rb") as file:
            gzipped = file.read(2) == _GZIP
        with gzip.open(path) if gzipped else open(path, "rb") as file:
            return _Unpickler(file).load()
    except SignBindError as error:
        raise SignBindError(f"{path}: {error}: it is not read") from error
    except Exception as error:  # a broken pickle raises whatever its bytes spell
        line = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise SignBindError(
            f"{path}: cannot be read as a pickle ({line}): copy it again"
        ) from error

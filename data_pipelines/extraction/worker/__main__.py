"""`python worker/` serves with MediaPipe (see `serve`)."""

import importlib.util
import sys
from pathlib import Path


def _holistic():
    try:
        from worker.holistic import Holistic
    except ImportError as error:
        raise RuntimeError(f"mediapipe cannot be imported ({error})") from error
    return Holistic()


def _make_importable() -> None:
    """Names this directory `worker`. The path stays as it is: where this project is installed lie
    packages that are not for this environment."""
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        "worker", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    sys.modules["worker"] = importlib.util.module_from_spec(spec)


if __name__ == "__main__":
    _make_importable()
    from worker.serve import serve

    serve(_holistic)

"""SignBind-JAX: multi-stream sign language translation.

```python
import signbind_jax as sb

translate = sb.load_translator("runs/translation")
print(translate("clip.mp4").text)
```

`configs`, `data_pipelines` and `launch` are subpackages, so that no installed name can collide
with anybody's own: a wheel holds them in here; in a checkout they lie beside this directory.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "setup.py").is_file():
    __path__.append(str(_CHECKOUT))

if TYPE_CHECKING:
    from signbind_jax.data.clip import Clip, TimedToken
    from signbind_jax.errors import SignBindError
    from signbind_jax.use.parts import LoadedExpert, LoadedFusion, load_expert, load_fusion
    from signbind_jax.use.streaming import StreamingTranslator, StreamSettings, StreamUpdate
    from signbind_jax.use.translation import Translation, Word
    from signbind_jax.use.translator import Translator, load_translator

__all__ = [
    "Clip",
    "LoadedExpert",
    "LoadedFusion",
    "SignBindError",
    "StreamSettings",
    "StreamUpdate",
    "StreamingTranslator",
    "TimedToken",
    "Translation",
    "Translator",
    "Word",
    "load_expert",
    "load_fusion",
    "load_translator",
]

# Name -> its module, imported when the name is first asked for: JAX takes seconds, and reads the
# environment that is made ready before.
_MODULES = {
    "Clip": "data.clip",
    "LoadedExpert": "use.parts",
    "LoadedFusion": "use.parts",
    "SignBindError": "errors",
    "StreamSettings": "use.streaming",
    "StreamUpdate": "use.streaming",
    "StreamingTranslator": "use.streaming",
    "TimedToken": "data.clip",
    "Translation": "use.translation",
    "Translator": "use.translator",
    "Word": "use.translation",
    "load_expert": "use.parts",
    "load_fusion": "use.parts",
    "load_translator": "use.translator",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    from signbind_jax.processes import environment

    environment.prepare()
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""SignBind-JAX.

`configs`, `data_pipelines` and `launch` are subpackages, so that no installed name can collide
with anybody's own: a wheel holds them in here; in a checkout they lie beside this directory.
"""

from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "setup.py").is_file():
    __path__.append(str(_CHECKOUT))

"""What chat templates may use: Jinja's sandbox with what `transformers` adds to it."""

import json
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class _Generation(jinja2.ext.Extension):
    """Leaves out `{% generation %}`, which marks what a model has said, and keeps its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller):
        return caller()


class _Namespace(jinja2.utils.Namespace):
    """Lets nobody reach Python's own attributes."""

    def __init__(*given, **named):  # any name may be given, self too
        own, *given = given
        attributes = dict(*given, **named)
        for name in attributes:
            _refuse_private(name)
        jinja2.utils.Namespace.__init__(own, attributes)

    def __setitem__(self, name, value):
        _refuse_private(name)
        super().__setitem__(name, value)


class _Dict:
    """`dict` as a function, without the type's attributes."""

    def __call__(self, *given, **named):
        return dict(*given, **named)

    def fromkeys(self, *given, **named):
        return dict.fromkeys(*given, **named)


def _refuse_private(name):
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"namespace: found attribute {name!r}")


def _raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    options = {"indent": indent, "separators": separators, "sort_keys": sort_keys}
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def make_environment() -> jinja2.Environment:
    """Makes the environment in which a template is read and filled in."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment

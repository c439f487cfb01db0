"""What `confined.run` does in a process of its own; a script that imports nothing of this project.

Given on standard input: {"task", "memory" (bytes), "seconds" (of processor time), ...}. Told on
standard output: {"result"} or {"error" (its type), "line"}.
"""

import contextlib
import json
import sys
from datetime import datetime

# A token is at least a byte of text, but for a few that a tokenizer puts around it.
_IDS_A_BYTE, _IDS_AROUND = 4, 64
_PROBES = (
    "",
    "Which signs are these?",
    "a" * 400,
    "aB1. " * 100,
    " " * 300 + "x",
    "\n\t" * 200,
    "0" * 300 + "!",
    "Größe 手語 🤟 " * 30,
    "'" * 300,
)


def render(template: str, variables: dict, limit: int) -> str:
    """A chat template filled in, as `apply_chat_template` of transformers does it."""
    text = _environment().from_string(template).render(**variables)
    if len(text) > limit:
        raise ValueError(f"{len(text):,} characters, wanted at most {limit:,}")
    return text


def _environment():
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        """`{% generation %}`, which marks what a model has said, is left out, its body is not."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

        def _said(self, caller):
            return caller()

    class Namespace(jinja2.utils.Namespace):
        """One that lets nobody reach Python's own attributes."""

        def __init__(*given, **named):  # any name may be given, self too
            own, *given = given
            attributes = dict(*given, **named)
            for name in attributes:
                refuse_private(name)
            jinja2.utils.Namespace.__init__(own, attributes)

        def __setitem__(self, name, value):
            refuse_private(name)
            super().__setitem__(name, value)

    class Dict:
        """`dict` as a function, without the type's attributes."""

        def __call__(self, *given, **named):
            return dict(*given, **named)

        def fromkeys(self, *given, **named):
            return dict.fromkeys(*given, **named)

    def refuse_private(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"namespace: found attribute {name!r}")

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    environment.globals["dict"] = Dict()
    environment.globals["namespace"] = Namespace
    return environment


def try_tokenizer(path: str) -> int:
    """Loads a tokenizer and lets it encode and decode; how many ids that gave."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    count = 0
    for text in _PROBES:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) > _IDS_A_BYTE * len(text.encode()) + _IDS_AROUND:
            raise ValueError(f"{len(ids):,} ids of {len(text)} characters")
        tokenizer.decode(ids)
        count += len(ids)
    return count


def _limit(memory: int, seconds: int) -> None:
    try:
        import resource
    except ImportError:  # no POSIX system: the time of whoever waits is the limit
        return
    for kind, wanted in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            wanted = min(wanted, most)
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of memory
            resource.setrlimit(kind, (wanted, most))


def main() -> None:
    given = json.load(sys.stdin)
    task = {"render": render, "try_tokenizer": try_tokenizer}[given.pop("task")]
    _limit(given.pop("memory"), given.pop("seconds"))
    try:
        told = {"result": task(**given)}
    except BaseException as error:  # panics of tokenizers are no Exceptions
        told = {"error": type(error).__name__, "line": " ".join(str(error).split())[:200]}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()

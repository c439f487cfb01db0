"""What `confined.run` does in a process of its own.

Given on standard input: {"task", "memory" (bytes), "seconds" (of processor time), ...}. Told on
standard output: {"result"} or {"error" (its type), "line"}.
"""

import contextlib
import json
import sys

from signbind_jax.errors import one_line

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
    """Fills in a chat template, as `apply_chat_template` of transformers does it."""
    from signbind_jax.hf.chat_template import make_environment  # imported within the limits

    text = make_environment().from_string(template).render(**variables)
    if len(text) > limit:
        raise ValueError(f"{len(text):,} characters, wanted at most {limit:,}")
    return text


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
        told = {"error": type(error).__name__, "line": one_line(error)}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()

"""A Hugging Face directory's `tokenizer.json` and the files beside it, read within limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from signbind_jax import files
from signbind_jax.errors import SignBindError, one_line
from signbind_jax.hf import confined

NAME = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
TEMPLATE = "chat_template.jinja"
TEMPLATE_BYTES = 2**20
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
TOKENIZER_BYTES = 2**27  # those of 256 thousand tokens take 35 MB
TRIAL = {"memory": 2**30, "seconds": 8}  # of the largest vocabularies: a third, and one second


def read_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """Reads the tokenizer of a file, which neither cuts nor pads what it encodes.

    Raises:
      SignBindError: no file, one that is too large, or none that the library can read.
    """
    text = files.read_text(path, TOKENIZER_BYTES)
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # bare Exceptions, and panics, which are not even those
        raise SignBindError(
            f"{path}: found {type(error).__name__}: {one_line(error)}; wanted a tokenizer of the "
            "tokenizers library"
        ) from None
    if getattr(tokenizer.model, "dropout", None):
        raise SignBindError(
            f"{path}: model.dropout: found {tokenizer.model.dropout}, wanted none: a text would "
            "become other ids each time"
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_foreign_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """Does the same of a file of others, which is tried first where it can do no harm.

    Raises:
      SignBindError: as `read_tokenizer`; it fails at ordinary text, or takes too much memory or
        time for it.
    """
    if not path.exists():
        raise SignBindError(
            f"{path}: no such file; wanted a model with its tokenizer in the format of the "
            "tokenizers library"
        )
    if files.check_regular(path) <= TOKENIZER_BYTES:
        try:
            confined.run("try_tokenizer", path=str(path.absolute()), **TRIAL)
        except SignBindError as error:
            raise SignBindError(
                f"{path}: {error}; wanted a tokenizer of the tokenizers library"
            ) from None
    return read_tokenizer(path)


@dataclass(frozen=True)
class TokenizerSettings:
    """What stands beside a tokenizer.

    Attributes:
      tokens: "bos_token", "eos_token" and the like -> the token.
      template: the chat template, or None.
    """

    tokens: Mapping[str, str]
    template: str | None


def read_settings(directory: Path) -> TokenizerSettings:
    """Reads tokenizer_config.json, special_tokens_map.json and chat_template.jinja, each where it
    is there; which of them counts is as in `transformers`.

    Raises:
      SignBindError: one cannot be read, or a token or the template is no text.
    """
    config, path = _object(directory / CONFIG), directory / CONFIG
    settings = config
    if "added_tokens_decoder" not in config:
        settings = config | _object(directory / SPECIAL)
    # Templates may know tokens of other names too; add_bos_token and its like are none.
    tokens = {
        name: _token(value, name, path)
        for name, value in settings.items()
        if name in ROLES or name.endswith("_token") and isinstance(value, str | dict)
    }
    tokens = {name: token for name, token in tokens.items() if token}
    if (directory / TEMPLATE).exists():
        return TokenizerSettings(tokens, files.read_text(directory / TEMPLATE, TEMPLATE_BYTES))
    return TokenizerSettings(tokens, _template(config.get("chat_template"), path))


def _object(path: Path) -> dict:
    record = files.read_json(path) if path.exists() else {}
    if not isinstance(record, dict):
        raise SignBindError(f"{path}: found {type(record).__name__}, wanted an object")
    return record


def _token(value, name: str, path: Path) -> str | None:
    """Reads a token: its text, or an object with it as "content"."""
    if isinstance(value, dict):
        value = files.field(value, "content", str, f"{path}: {name}")
    if value is not None and not isinstance(value, str):
        raise SignBindError(f"{path}: {name}: found {type(value).__name__}, wanted a token's text")
    return value


def _template(value, path: Path) -> str | None:
    """Picks one template, or the default of several with names."""
    where = f"{path}: chat_template"
    if isinstance(value, list):
        named = {files.field(one, "name", str, where): one for one in value}
        if "default" not in named:
            found = ", ".join(named)[:100] or "none"
            raise SignBindError(f"{where}: found {found}, wanted one named default")
        value = files.field(named["default"], "template", str, where)
    if value is not None and not isinstance(value, str):
        raise SignBindError(f"{where}: found {type(value).__name__}, wanted text")
    if value and len(value) > TEMPLATE_BYTES:
        raise SignBindError(
            f"{where}: found {len(value):,} characters, wanted at most {TEMPLATE_BYTES:,}"
        )
    return value

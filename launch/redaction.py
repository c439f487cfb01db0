"""What no output may show: values of secret variables and flags, in every encoding used here."""

import base64
import json
import re
import shlex
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence

# HF_TOKEN, WANDB_API_KEY, PASSWORD_2, MYSECRET; not TOKENIZERS_PARALLELISM, KEYBOARD or MAX_TOKENS.
_SECRET = re.compile(
    r"(?:.*[^A-Z])?(?:PAT|PW|AUTH|KEY|.*(?:TOKEN|APIKEY|PASSWORD|PASSWD|PASSPHRASE|SECRET"
    r"|CREDENTIALS?))(?:[^A-Z].*)?",
    re.IGNORECASE,
)
_SHORTEST = 8  # characters of a value whose name does not say that it is a secret
_SHORTEST_FOUND = 4  # of one that was not passed with --env: what holds "1" is a switch
_BASE64 = re.compile(r"[A-Za-z0-9+/]{4,}={0,2}")


def names_a_secret(name: str) -> bool:
    """Whether a variable or flag is a key, token, password or the like by its name."""
    return _SECRET.fullmatch(name) is not None


def secrets_of(
    passed: Mapping[str, str], command: Sequence[str], here: Mapping[str, str]
) -> list[str]:
    """The texts to mask.

    Args:
      passed: variables that were named as the job's: masked from 8 characters on, and of any
        length where the name tells a secret.
      command: its flags such as --api_key=VALUE, or --api_key VALUE.
      here: the environment of this process, which jobs may print.
    """
    found = [v for name, v in passed.items() if len(v) >= _SHORTEST or names_a_secret(name)]
    flags = [argument.partition("=")[::2] for argument in command]
    flags += [
        (flag, value)
        for flag, value in zip(command, command[1:], strict=False)
        if flag.startswith("-") and "=" not in flag and not value.startswith("-")
    ]
    # A flag such as --config.token_noise=0.1 is none: its last word decides.
    last_words = ((re.split(r"[._\s-]", name)[-1], value) for name, value in flags)
    for name, value in (*last_words, *here.items()):
        if len(value) >= _SHORTEST_FOUND and names_a_secret(name):
            found.append(value)
    # A log shows a secret of several lines line by line.
    lines = [line for value in found for line in value.splitlines() if len(line) >= _SHORTEST]
    return [text for text in (*found, *lines) if text]


class Mask:
    """Puts *** in the place of secrets.

    Args:
      secrets: the texts; each is also found quoted for a shell (once or twice), as a JSON string,
        quoted for a URL and, whatever stands around it, inside base64.
    """

    def __init__(self, secrets: Iterable[str]):
        plain = set(secrets)
        every = {form for secret in plain for form in _forms(secret)}
        # The longest first, so that no secret survives as the rest of a shorter one.
        longest_first = sorted(every, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if every else None
        self._bytes = [secret.encode() for secret in plain]

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        if self._pattern is None:
            return text
        return self._pattern.sub("***", _BASE64.sub(self._decoded, text))

    def _decoded(self, match: re.Match) -> str:
        digits = match[0].rstrip("=")
        data = base64.b64decode(digits[: len(digits) // 4 * 4])
        rest = digits[len(digits) // 4 * 4 :]
        if len(rest) > 1:
            data += base64.b64decode(rest + "=" * (4 - len(rest)))
        return "***" if any(secret in data for secret in self._bytes) else match[0]


def _forms(secret: str) -> set[str]:
    """A secret as it stands and as programs quote it."""
    quoted = {secret}
    for _ in range(2):  # a shell's command inside an argument of another
        quoted |= {shlex.quote(text)[1:-1] for text in quoted if shlex.quote(text) != text}
    quoted |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    quoted |= {urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    quoted |= {secret.replace("\n", "\\n"), urllib.parse.quote(secret)}
    return quoted

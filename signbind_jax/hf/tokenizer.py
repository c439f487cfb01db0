"""TextTokenizer: text to ids and back, with chosen words spelled character by character."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from signbind_jax import files
from signbind_jax.errors import SignBindError, one_line

SPECIAL_TOKENS = {"pad": "<pad>", "bos": "<bos>", "eos": "<eos>", "sep": "<sep>"}
# The output layer's width is a multiple of this, so that it divides over devices.
VOCAB_MULTIPLE = 64

TOKENIZER_BYTES = 2**29  # those of 256 thousand tokens take 35 MB
_TOKENIZER_FILE = "tokenizer.json"
_SETTINGS_FILE = "text_tokenizer.json"


class TextTokenizer:
    """A `tokenizers.Tokenizer` with named special tokens and spelled words.

    Spelled words (names, mostly) become one token a character, so that a language model
    can copy a word it has never seen letter by letter. The space before a spelled word is
    a token of its own.

    Attributes:
      pad_id, bos_id, eos_id, sep_id: ids of the special tokens.
      vocab_size: how many tokens there are.
      model_vocab_size: the same, rounded up to a multiple of 64: rows for a model to have.
      head, tail: ids of the prompt in front of the signs, and between them and the sentence.
    """

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        special_tokens: dict[str, str],
        frame: tuple[Sequence[int], Sequence[int]] | None = None,
    ):
        """Wraps a tokenizer that holds `special_tokens` ("pad", "bos", "eos", "sep" → token).

        frame: `head` and `tail`; by default nothing, and the token that begins a sentence.

        Raises:
          SignBindError: a special token is not named or not in the vocabulary.
        """
        for role in SPECIAL_TOKENS:
            token = special_tokens.get(role)
            if token is None or tokenizer.token_to_id(token) is None:
                raise SignBindError(
                    f"tokenizer: special token {role!r}: found {token!r}, "
                    "wanted a token of its vocabulary"
                )
        # "<eos>" in somebody's text is five characters, never the end of the sentence.
        tokenizer.encode_special_tokens = True
        self.special_tokens = {role: special_tokens[role] for role in SPECIAL_TOKENS}
        self._tokenizer = tokenizer
        self.pad_id, self.bos_id, self.eos_id, self.sep_id = (
            tokenizer.token_to_id(token) for token in self.special_tokens.values()
        )
        self.vocab_size = tokenizer.get_vocab_size(with_added_tokens=True)
        self.model_vocab_size = -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
        self.head, self.tail = (list(part) for part in frame or ((), (self.bos_id,)))

    def with_frame(self, head: Sequence[int], tail: Sequence[int]) -> "TextTokenizer":
        """Gives the same tokenizer with another prompt around the signs."""
        return TextTokenizer(self._tokenizer, self.special_tokens, (head, tail))

    def encode(self, text: str, spelled: Sequence[str] = ()) -> list[int]:
        """Ids of `text`, without special tokens.

        Args:
          text: any string; `decode` gives it back exactly.
          spelled: words to write character by character wherever they stand as whole
            words, in any case; of "Anna's" it is "Anna" that is spelled.
        """
        ids = []
        for part, is_spelled in _split(text, _pattern(spelled)):
            if is_spelled:
                for char in part:
                    ids += self._char_ids(char)
            else:
                ids += self._encode(part)
        return ids

    def _encode(self, text: str) -> list[int]:
        try:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        except BaseException as error:  # patterns may fail at a text, as a panic: no Exception
            if type(error).__name__ != "PanicException":
                raise
            raise SignBindError(
                f"tokenizer: text: found {text[:60]!r}, wanted one that its "
                f"patterns can split ({one_line(error)})"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Gives the text of `ids`; special tokens and ids past the vocabulary are left out."""
        known = [int(i) for i in ids if 0 <= int(i) < self.vocab_size]
        return self._tokenizer.decode(known, skip_special_tokens=True)

    def to_files(self) -> dict[str, str]:
        """Maps name -> text: `tokenizer.json` (the Hugging Face format) and our settings."""
        settings = {"special_tokens": self.special_tokens, "frame": [self.head, self.tail]}
        return {
            _TOKENIZER_FILE: self._tokenizer.to_str(pretty=True),
            _SETTINGS_FILE: json.dumps(settings, indent=1) + "\n",
        }

    def save(self, directory: Path | str) -> None:
        """Writes `to_files` into a directory."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in self.to_files().items():
            files.write(directory / name, text)

    @classmethod
    def load(cls, directory: Path | str) -> "TextTokenizer":
        """Loads the tokenizer that `save` wrote.

        Raises:
          SignBindError: a file is missing or cannot be read.
        """
        path = Path(directory) / _TOKENIZER_FILE
        text = files.read_text(path, TOKENIZER_BYTES)
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
            path = Path(directory) / _SETTINGS_FILE
            settings = files.read_json(path)
            special_tokens = dict(files.field(settings, "special_tokens", dict, str(path)))
            return cls(tokenizer, special_tokens, settings.get("frame"))
        except SignBindError:
            raise
        except Exception as error:  # tokenizers raises bare Exception for a broken file
            raise SignBindError(
                f"{path}: found {type(error).__name__}: {one_line(error)}; wanted a file "
                "written by TextTokenizer.save"
            ) from error

    @property
    def tokens(self) -> list[str]:
        """The tokens by id; an id without one is called by its number."""
        tokens = map(self._tokenizer.id_to_token, range(self.vocab_size))
        return [f"id {i}" if token is None else token for i, token in enumerate(tokens)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides what an id means."""
        state = json.loads(self._tokenizer.to_str())
        content = json.dumps([state, self.special_tokens], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def _char_ids(self, char: str) -> list[int]:
        """Ids of one character, before any merge: its own token or those of its bytes."""
        # The byte-level alphabet writes each byte of UTF-8 as one printable character.
        (symbols, _), *_ = _BYTES.pre_tokenize_str(char)
        # Tokenizers of SentencePiece's kind have whole characters and, for rare ones, bytes.
        rivals = (
            symbols,
            ["▁" if char == " " else char],
            [f"<0x{byte:02X}>" for byte in char.encode()],
        )
        for rival in rivals:
            ids = [self._tokenizer.token_to_id(symbol) for symbol in rival]
            if None not in ids:
                return ids
        raise SignBindError(
            f"tokenizer: found no token for {char!r} nor for its bytes; spelled words want them"
        )


_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def train_bpe(texts: Iterable[str], vocab_size: int, spelled: Sequence[str] = ()) -> TextTokenizer:
    """Fits a byte-level BPE (Sennrich et al., 2016) to a corpus.

    Args:
      texts: the training sentences.
      vocab_size: the most tokens to make: special tokens, 256 bytes and merges. A small
        corpus gives fewer.
      spelled: words that will be spelled; merges are not learned from them.

    Raises:
      SignBindError: `vocab_size` does not hold the bytes and the special tokens.
    """
    smallest = len(SPECIAL_TOKENS) + 256
    if vocab_size < smallest:
        raise SignBindError(
            f"tokenizer: vocab_size: found {vocab_size}, wanted at least {smallest}"
        )
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pattern = _pattern(spelled)
    ordinary = (
        part for text in texts for part, is_spelled in _split(text, pattern) if not is_spelled
    )
    tokenizer.train_from_iterator(ordinary, trainer)
    return TextTokenizer(tokenizer, dict(SPECIAL_TOKENS))


def _pattern(words: Sequence[str]) -> re.Pattern | None:
    """Matches any of the words as a whole word, in any case."""
    # The longest word first, so that "new york" wins over "new".
    words = sorted({word for word in words if word}, key=lambda word: (-len(word), word))
    if not words:
        return None
    return re.compile(r"(?<!\w)(" + "|".join(map(re.escape, words)) + r")(?!\w)", re.IGNORECASE)


def _split(text: str, pattern: re.Pattern | None) -> Iterator[tuple[str, bool]]:
    """Gives the parts of `text` in order, each with whether it matches `pattern`."""
    # With one group, re.split puts the matches at the odd places.
    for i, part in enumerate(pattern.split(text) if pattern else [text]):
        if part:
            yield part, i % 2 == 1

"""Until load_translator is there."""

import dataclasses

from signbind_jax.data.clip_list import ClipList
from signbind_jax.use.translate import Translator


@dataclasses.dataclass(frozen=True)
class Translation:
    id: str
    text: str
    streams: dict
    fused: list
    words: list
    no_input: tuple

    def to_json(self):
        record = dataclasses.asdict(self)
        record["streams"] = {n: [t._asdict() for t in row] for n, row in self.streams.items()}
        return record | {"no_input": list(self.no_input)}


class _Translator(Translator):
    def translate_clips(self, clips):
        listed = ClipList(clips)
        read = self.read(listed)
        without = self.reader.without_input(listed)
        return [
            Translation(
                clips[i].id,
                text,
                self.tokens(read, i),
                fused,
                [],
                tuple(n for n, x in without.items() if i in x),
            )
            for i, (text, fused) in enumerate(zip(self.write(read), self.fused(read)))
        ]


def load_translator(directory, **settings):
    return _Translator(directory, settings)

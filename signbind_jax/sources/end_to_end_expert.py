"""What an expert learns from that learns from sentences too: its clips and CTC targets, what the
other experts of a trained translator read of them, and the sentences."""

import dataclasses

import numpy as np

from signbind_jax.checkpoint.artefact import Artefact, open_artefact
from signbind_jax.config import RunConfig
from signbind_jax.data.batch_plan import Step
from signbind_jax.data.sentences import Sentences
from signbind_jax.data.stream_cache import SplitStreams, gather
from signbind_jax.data.vocabulary import FUSION_TARGETS
from signbind_jax.errors import SignBindError
from signbind_jax.files import shorten
from signbind_jax.generation.config import read_options
from signbind_jax.models.signbind import SignBindConfig
from signbind_jax.sources.expert import ExpertSource
from signbind_jax.sources.translation import prefix_paths
from signbind_jax.stages.end_to_end_expert import EndToEndBatch, EndToEndShapes
from signbind_jax.stages.language_model import encode_sentence
from signbind_jax.stages.open_experts import open_experts_of, open_reader_of
from signbind_jax.stages.translation import TranslationOptions, make_prompt_parts

_SPARE = 1.5  # room for tokens of the expert, over what it reads at first
_MAY_DIFFER = ("dropout", "dtype", "remat")  # of the model, from the expert it starts from


class EndToEndExpertSource(ExpertSource):
    """Clips, one a row, for an expert of a translator, from which it starts.

    Attributes:
      translator: the trained alignment or translation stage.
      expert: its expert of the stream.
    """

    packs = False

    def __init__(self, config: RunConfig):
        self.translator, experts = _open_translator(config)
        self.expert = experts[config.stage]
        super().__init__(config)
        self._check_model()
        self.parents["translation"] = self.translator.digest
        run, train = self.translator, self.dataset.split(config.data.train)
        reader = open_reader_of(run, experts)
        options = read_options(TranslationOptions, run.config.options)
        parts = make_prompt_parts(run.vocabularies[FUSION_TARGETS], run.tokenizer, options, reader)
        read = reader.read(train).experts
        most = np.diff(read[config.stage].first).max()
        # Read in every step, by the expert as it then is.
        read[config.stage] = gather(len(train), reader.d_hidden, ())
        texts = [encode_sentence(run.tokenizer, c.text, c.spelled) for c in train.labels]
        none, split = [()] * len(texts), SplitStreams(read)
        self.sentences = Sentences(
            split.lengths, split, none, [run.tokenizer.tail] * len(texts), texts
        )
        self._room = int(self.sentences.lengths.max())
        (self._capacities,) = self.sentences.capacities([self._room]).values()
        self.shapes = EndToEndShapes(
            **vars(self.shapes),
            translator=run.model_config,
            stream=run.config.streams.index(config.stage),
            room=-(-max(int(_SPARE * most), 8) // 8) * 8,
            unread_s=run.config.data.unread_s,
            prompt_parts=parts,
            sentence=self._sentences(np.array([-1])),
        )
        self.notes.append(f"learns from the sentence loss of {run.workdir}, step {run.step}, too")

    def _make_vocabulary(self):
        """The expert's, whose ids fusion knows."""
        vocabulary = self.expert.vocabularies[self.stream.vocabulary]
        where = f"config.parents.translation: {self.expert.workdir}"
        self._check_coverage(vocabulary, self.stream.target, where)
        return vocabulary

    def _check_model(self) -> None:
        for field in dataclasses.fields(self.model_config):
            found, wanted = (
                getattr(of, field.name) for of in (self.model_config, self.expert.model_config)
            )
            if field.name not in _MAY_DIFFER and found != wanted:
                raise SignBindError(
                    f"config.model.{field.name}: found {shorten(found)}, wanted {shorten(wanted)} "
                    f"as {self.expert.workdir} has it, from which this run starts"
                )

    def _sentences(self, rows: np.ndarray):
        return self.sentences.batch(Step.padded(self._room, rows), self._capacities)

    def batches(self, start, stop=None):
        for rows in super().batches(start, stop):
            yield EndToEndBatch(rows, self._sentences(rows.index_bg[:, 0]))

    def parent_directories(self):
        return super().parent_directories() | {"translation": str(self.translator.workdir)}

    def initial_params(self, stage, mesh):
        translator = self.translator.load_params(mesh)[1]
        own = prefix_paths((), self.expert.load_params(mesh)[1])
        return own | prefix_paths(("translator",), translator)


def _open_translator(config: RunConfig) -> tuple[Artefact, dict[str, Artefact]]:
    """The translator that `parents.translation` names, and its experts by stream.

    Raises:
      SignBindError: no translator, one without an expert of this stream, or another start.
    """
    directory = config.parents["translation"]
    where = f"config.parents.translation: {directory}"
    if config.init_from:
        raise SignBindError(
            f"config.init.from: found {config.init_from}, wanted nothing: {config.stage} starts "
            f"from the expert that {directory} was trained with"
        )
    run = open_artefact(directory)
    if not isinstance(run.model_config, SignBindConfig):
        raise SignBindError(f"{where}: stage: found {run.stage}, wanted translation or alignment")
    experts = open_experts_of(run)
    if config.stage not in experts:
        raise SignBindError(
            f"{where}: experts: found {', '.join(experts) or 'none'}, wanted {config.stage}"
        )
    return run, experts

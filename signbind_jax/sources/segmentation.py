"""What a segmenter learns from: clips with poses, several a row; neither labels nor parents."""

from signbind_jax.config import RunConfig
from signbind_jax.data.frame_rate import trained_fps
from signbind_jax.data.training_plan import training_plan
from signbind_jax.errors import SignBindError
from signbind_jax.evaluate.evaluators import BoundaryEvaluator
from signbind_jax.sources.source import ClipSource
from signbind_jax.stages.segmentation import FRONTEND, NO_TARGET, SegmentationShapes


class SegmentationSource(ClipSource):
    """The clips of the training split that have a pose, in filled rows as those of experts."""

    def __init__(self, config: RunConfig):
        super().__init__(config)
        data, train = config.data, self.dataset.split(config.data.train)
        self.frontend, self.target_ids, self.target = FRONTEND, [[]] * len(train), NO_TARGET
        self.lengths = train.lengths("pose")
        if not self.lengths.any():
            raise SignBindError(
                f"{data.directory}: split {data.train}: found no clip with a pose, wanted some to "
                f"train {config.stage}"
            )
        self.fps = trained_fps(train.read_labels(), "pose")
        self.plan = training_plan(self.lengths, data, config.seed, times=train.times, rows=True)
        if self.plan.clips_per_row < 2:
            raise SignBindError(
                f"config.data.row_frames: found {data.row_frames} and rows of one clip, wanted "
                f"rows of several: at least {2 * self.plan.row_frames} frames"
            )
        self.shapes = SegmentationShapes(self.plan.clips_per_row)
        self._tell_plan()

    def evaluator(self, weights):
        return BoundaryEvaluator(weights, self.config.data.row_frames)

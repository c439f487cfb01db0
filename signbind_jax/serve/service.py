"""The service: readers and the translator at work on the jobs."""

import asyncio
import collections
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from signbind_jax.data.clip import Clip
from signbind_jax.data.clip_list import ClipList
from signbind_jax.errors import SignBindError, outcome
from signbind_jax.serve.jobs import LOST, Job, Jobs, State
from signbind_jax.serve.metrics import Metrics
from signbind_jax.serve.reading import Reader, Reading
from signbind_jax.serve.settings import ServeSettings

logger = logging.getLogger(__name__)

_FORGET_EVERY_S = 1.0
Result = TypeVar("Result")


class ClipTranslator(Protocol):
    """What translates, such as `signbind_jax.load_translator` gives it."""

    def translate_clips(self, clips: Sequence[Clip]) -> list[Any]:
        """A translation of each clip, in their order."""
        ...

    def without_hidden(self, clips: ClipList) -> str:
        """What to know of tokens that clips came with; empty where there is nothing."""
        ...


class Service:
    """Takes jobs from upload to answer.

    Each reader has a process; the translator, which owns JAX, has one thread for itself.

    Attributes:
      warming_up: whether that thread compiles ahead, which nobody waits for and nothing can stop.

    Args:
      translate: where the translator works: a pool of one thread.
      reading: how uploads are read.
      settings: how many readers there are, and how many recordings are translated in one call.
      warm_ups: what the translator does while no job waits, see `warm_up`.
    """

    def __init__(
        self,
        jobs: Jobs,
        translator: ClipTranslator,
        translate: ThreadPoolExecutor,
        reading: Reading,
        settings: ServeSettings,
        metrics: Metrics,
        warm_ups: Iterable[Callable[[], object]] = (),
    ):
        self.jobs, self.metrics = jobs, metrics
        self._warm_ups = collections.deque(warm_ups)
        metrics.warm_ups_left.set_function(lambda: len(self._warm_ups))
        self._translator, self._translate = translator, translate
        self._readers = [Reader(reading) for _ in range(settings.readers)]
        self._read = ThreadPoolExecutor(settings.readers, "signbind reader")
        self._batch_size = settings.batch_size
        self._to_read: asyncio.Queue[Job] = asyncio.Queue()
        self._to_translate: asyncio.Queue[Job] = asyncio.Queue()
        self._tasks: list[asyncio.Task] = []
        self._batch: asyncio.Task | None = None
        self.warming_up = False

    async def start(self) -> None:
        """Starts the readers, then all work.

        Raises:
          SignBindError: a reader does not start.
        """
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._read, reader.start) for reader in self._readers)
        )
        work = [self._read_jobs(reader) for reader in self._readers]
        work += [self._translate_jobs(), self._forget_jobs()]
        self._tasks = [asyncio.create_task(each) for each in work]

    def add(self, job: Job) -> None:
        """Takes a job on."""
        self._to_read.put_nowait(job)

    async def on_translator(self, work: Callable[[Any], Result]) -> Result:
        """Does something with the translator on its thread, behind what that is at."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._translate, work, self._translator)

    async def stop(self) -> None:
        """Lets the batch that is being translated end; all other jobs are lost."""
        self.jobs.stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._batch is not None and not self.warming_up:
            await asyncio.gather(self._batch, return_exceptions=True)
        for job in self.jobs.unanswered():
            self._end(job, State.LOST, problem=LOST)
        # Their threads are told by the end of the processes that they wait for.
        await asyncio.gather(*(asyncio.to_thread(each.interrupt) for each in self._readers))
        await asyncio.to_thread(self._read.shutdown)
        for reader in self._readers:
            reader.end()

    async def _read_jobs(self, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        while True:
            job = await self._to_read.get()
            if job.ended.is_set():  # forgotten while it waited
                continue
            self._move(job, State.READING)
            read = await loop.run_in_executor(self._read, reader.read, job.path, job.name)
            if job.ended.is_set():
                continue
            job.drop_upload()
            job.notes += read.notes
            if read.clip is None:
                self._end(job, State.FAILED, problem=read.fault)
                continue
            if read.clip.streams and (
                note := self._translator.without_hidden(ClipList([read.clip]))
            ):
                job.notes.append(note)
            job.clip, job.pose = read.clip, read.clip.modalities.get("pose")
            self._move(job, State.TRANSLATING)
            self._to_translate.put_nowait(job)

    async def _translate_jobs(self) -> None:
        while True:
            while self._warm_ups and self._to_translate.empty():
                await self._alone(self._warm_up())
            batch = [await self._to_translate.get()]
            while len(batch) < self._batch_size and not self._to_translate.empty():
                batch.append(self._to_translate.get_nowait())
            batch = [job for job in batch if not job.ended.is_set()]
            if batch:
                await self._alone(self._translate_batch(batch))

    async def _alone(self, work: Coroutine) -> None:
        """Does work of the translator as a task of its own: to stop cancels the wait for it, not
        the work."""
        self._batch = asyncio.create_task(work)
        await asyncio.shield(self._batch)

    async def _warm_up(self) -> None:
        loop = asyncio.get_running_loop()
        self.warming_up = True
        try:
            await loop.run_in_executor(self._translate, self._warm_ups[0])
            self._warm_ups.popleft()
        except Exception as error:  # jobs will tell, where it matters to them
            logger.warning("not warmed up: %s", outcome(error)[1])
            self._warm_ups.clear()
        self.warming_up = False

    async def _translate_batch(self, batch: list[Job]) -> None:
        self.metrics.batch_clips.observe(len(batch))
        loop, clips = asyncio.get_running_loop(), [job.clip for job in batch]
        try:
            found = await loop.run_in_executor(
                self._translate, self._translator.translate_clips, clips
            )
        except Exception as error:
            if len(batch) > 1:  # one of them may be to blame
                for job in (job for job in batch if not job.ended.is_set()):
                    await self._translate_batch([job])
                return
            told = outcome(error)[1]
            unexpected = not isinstance(error, SignBindError)
            logger.error("job %s: %s", batch[0].id, told, exc_info=unexpected)
            self._end(batch[0], State.FAILED, problem=f"{batch[0].name}: {told}")
            return
        for job, translation in zip(batch, found, strict=True):
            self._end(job, State.DONE, result=translation.to_json())

    async def _forget_jobs(self) -> None:
        while True:
            await asyncio.sleep(_FORGET_EVERY_S)
            self.jobs.forget_old()

    def _move(self, job: Job, state: State) -> None:
        before = job.state
        self.metrics.step_s.labels(before.value).observe(job.move(state))

    def _end(self, job: Job, state: State, **answer: Any) -> None:
        if job.ended.is_set():  # forgotten meanwhile
            return
        before = job.state
        self.metrics.step_s.labels(before.value).observe(self.jobs.end(job, state, **answer))
        self.metrics.answered.labels(state.value).inc()

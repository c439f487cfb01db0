"""Signing that arrives frame by frame: a stream is opened, fed by requests, and ended.

Each request carries the next frames and is answered with what is known then, so that a client can
send no faster than it is served. All reading is done by the translator's one thread, in turn with
the batches of jobs.
"""

import asyncio
import base64
import binascii
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.requests import ClientDisconnect

from signbind_jax.data.clip import FPS_RANGE
from signbind_jax.errors import SignBindError, printable
from signbind_jax.serve.problems import Problem, busy
from signbind_jax.serve.service import Service
from signbind_jax.serve.settings import ServeSettings
from signbind_jax.use.streaming import StreamingTranslator, StreamSettings, StreamUpdate

IDLE_S = 30.0  # without a request, after which a stream is forgotten
MOST_BODY = 8_000_000  # bytes: two seconds of the largest frames at 30 a second
MOST_FPS = 120  # cameras give no more, and attention costs its square


class Opening(BaseModel):
    """What the frames of a stream are."""

    fps: float = Field(ge=FPS_RANGE[0], le=MOST_FPS, description="frames a second")
    look_ahead_s: float = Field(StreamSettings.look_ahead_s, ge=0, le=60)
    chunk_s: float = Field(StreamSettings.chunk_s, gt=0, le=60)
    sentence_s: float = Field(StreamSettings.sentence_s, ge=0, le=60)
    scheme: str = Field("", max_length=100, description="of the landmarks; else by their number")
    width: float = Field(0, ge=0, le=1e5, description="of the picture, for landmarks in 0..1")
    height: float = Field(0, ge=0, le=1e5)


class Opened(BaseModel):
    """A stream is open."""

    id: str
    longest_s: float = Field(description="seconds that a sentence may last")
    crops: bool = Field(description="whether mouth crops are read")


class Crops(BaseModel):
    """Grey mouth crops."""

    height: int = Field(ge=1, le=512)
    width: int = Field(ge=1, le=512)
    data: str = Field(description="base64 of a byte a pixel, row by row, crop after crop")

    def array(self) -> np.ndarray:
        """uint8 (frames, height, width)."""
        try:
            pixels = np.frombuffer(base64.b64decode(self.data, validate=True), np.uint8)
        except binascii.Error as error:
            raise Problem(422, f"crops: wanted base64: {error}") from error
        if pixels.size % (self.height * self.width):
            found = f"{pixels.size} bytes of {self.height}x{self.width}"
            raise Problem(422, f"crops: found {found}, wanted whole crops")
        return pixels.reshape(-1, self.height, self.width)


Point = Annotated[list[float | None], Field(min_length=2, max_length=3)]


class NextFrames(BaseModel):
    """The next frames of a sentence."""

    first: int = Field(ge=0, description="number of the first one, from the sentence's start")
    landmarks: list[list[Point]] | None = Field(
        None,
        description="frames of keypoints: x, y and, for all or none, confidence; null: missing",
    )
    crops: Crops | None = None

    def arguments(self) -> dict[str, Any]:
        """As `StreamingTranslator.feed` takes them."""
        try:
            landmarks = None if self.landmarks is None else np.array(self.landmarks, np.float64)
        except ValueError as error:
            raise Problem(422, "landmarks: wanted as many numbers of every keypoint") from error
        crops = self.crops.array() if self.crops else None
        return {"landmarks": landmarks, "crops": crops, "first": self.first}


class Token(BaseModel):
    """What was read, when in the sentence, in seconds, and how surely."""

    token: str
    start: float
    end: float
    confidence: float


class UpdateAnswer(BaseModel):
    """What is known of a sentence."""

    seconds: float = Field(description="of signing that came")
    final: dict[str, list[Token]] = Field(description="by stream, the tokens that stay")
    provisional: dict[str, list[Token]] = Field(description="those behind them, which may change")
    sentence: str = Field(description="as it was last written")
    is_final: bool = Field(description="whether the sentence has ended")
    translation: dict[str, Any] | None = Field(
        description="once it has: what /v1/jobs gives as the result of its recording"
    )

    @classmethod
    def of(cls, update: StreamUpdate) -> "UpdateAnswer":
        """That of an update."""
        return cls(**update.to_json())


@dataclass(eq=False)
class _Stream:
    id: str
    reads: StreamingTranslator
    since: float = field(default_factory=time.monotonic)  # its last request
    under_way: bool = False


class Streams:
    """The streams that are open.

    Args:
      service: has the translator and its thread.
      settings: how many streams there may be, and how long a sentence.
    """

    def __init__(self, service: Service, settings: ServeSettings):
        self._service, self._settings = service, settings
        self._streams: dict[str, _Stream] = {}
        self._opening = 0
        service.metrics.streams.set_function(lambda: len(self._streams))

    async def open(self, asked: Opening) -> Opened:
        """A new stream, once what it needs is compiled.

        Raises:
          Problem: no place is free; the server is stopping.
        """
        self._forget_idle()
        n, most = len(self._streams) + self._opening, self._settings.most_streams
        if n >= most:
            raise busy(f"found {n} streams, wanted less than {most}")
        self._opening += 1
        try:
            reads = await self._work(lambda translator: self._prepared(translator, asked))
        finally:
            self._opening -= 1
        stream = _Stream(uuid.uuid4().hex, reads)
        self._streams[stream.id] = stream
        crops = reads.lip_size is not None
        return Opened(id=stream.id, longest_s=reads.longest_s, crops=crops)

    def _prepared(self, translator: Any, asked: Opening) -> StreamingTranslator:
        longest_s = min(translator.longest_s, self._settings.most_seconds)
        settings = StreamSettings(longest_s=longest_s, **asked.model_dump())
        stream = StreamingTranslator(translator, settings)
        stream.prepare()
        return stream

    async def feed(self, stream_id: str, given: NextFrames) -> UpdateAnswer:
        """What is known once the next frames have come.

        Raises:
          Problem: no such stream, another request of it is under way, or not its next frames.
        """
        arguments = given.arguments()
        with self._alone(stream_id) as stream, self._service.metrics.update_s.time():
            return UpdateAnswer.of(await self._work(lambda _: stream.reads.feed(**arguments)))

    async def end(self, stream_id: str) -> UpdateAnswer:
        """What the sentence is as a whole; the next frames begin another.

        Raises:
          Problem: as `feed`; there were no frames, or nobody in any.
        """
        with self._alone(stream_id) as stream:
            return UpdateAnswer.of(await self._work(lambda _: stream.reads.end()))

    def forget(self, stream_id: str) -> None:
        """Closes a stream."""
        del self._streams[self._get(stream_id).id]

    async def _work(self, work: Callable[[Any], Any]) -> Any:
        if self._service.jobs.stopping:
            raise busy("the server is stopping")
        try:
            return await self._service.on_translator(work)
        except SignBindError as error:
            raise Problem(422, str(error)) from error

    @contextlib.contextmanager
    def _alone(self, stream_id: str) -> Iterator[_Stream]:
        stream = self._get(stream_id)
        if stream.under_way:
            raise Problem(409, "another request of this stream is under way: wait for its answer")
        stream.under_way = True
        try:
            yield stream
        finally:
            stream.under_way, stream.since = False, time.monotonic()

    def _get(self, stream_id: str) -> _Stream:
        self._forget_idle()
        if stream_id not in self._streams:
            raise Problem(404, f"no stream of this id: after {IDLE_S:g} s alone it is forgotten")
        return self._streams[stream_id]

    def _forget_idle(self) -> None:
        now = time.monotonic()
        idle = [s for s in self._streams.values() if not s.under_way and now - s.since > IDLE_S]
        for stream in idle:
            del self._streams[stream.id]


def add_streams(app: FastAPI, service: Service, settings: ServeSettings) -> None:
    """Adds what opens, feeds and ends streams to an application."""
    streams = Streams(service, settings)

    @app.post("/v1/streams", status_code=201)
    async def open_stream(asked: Opening) -> Opened:
        """Opens a stream for signing that arrives frame by frame; answers once it can be read."""
        return await streams.open(asked)

    schema = NextFrames.model_json_schema()
    schema["properties"]["crops"] = schema.pop("$defs")["Crops"]
    body = {"application/json": {"schema": schema}}

    @app.post(
        "/v1/streams/{stream_id}/frames",
        openapi_extra={"requestBody": {"required": True, "content": body}},
    )
    async def feed_stream(stream_id: str, request: Request) -> UpdateAnswer:
        """Takes the next frames of a sentence; says what is known then."""
        return await streams.feed(stream_id, await _received(request, settings.upload_s))

    @app.post("/v1/streams/{stream_id}/end")
    async def end_stream(stream_id: str) -> UpdateAnswer:
        """Ends a sentence, which is translated as a whole; the next frames begin another."""
        return await streams.end(stream_id)

    @app.delete("/v1/streams/{stream_id}", status_code=204)
    async def forget_stream(stream_id: str) -> None:
        """Closes a stream; nothing is kept of it."""
        streams.forget(stream_id)


async def _received(request: Request, upload_s: float) -> NextFrames:
    """The frames in the body of a request.

    Raises:
      Problem: too large, too slow, not what was asked for.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(upload_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY:
                    raise Problem(413, f"found more than {MOST_BODY:,} bytes: send fewer frames")
    except TimeoutError as error:
        raise Problem(408, f"the frames did not arrive within {upload_s:g} seconds") from error
    except ClientDisconnect as error:
        raise Problem(400, "the client went away") from error
    try:
        return NextFrames.model_validate_json(bytes(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "frames"
        raise Problem(422, printable(f"{where}: {first['msg']}")) from error

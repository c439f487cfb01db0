"""The HTTP interface: jobs, what is loaded, health, metrics, and the page."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from signbind_jax.errors import outcome
from signbind_jax.serve import landmarks, upload
from signbind_jax.serve.about import About
from signbind_jax.serve.access import Access
from signbind_jax.serve.answers import Accepted, JobAnswer, LandmarksAnswer, ProblemAnswer
from signbind_jax.serve.examples import add_examples
from signbind_jax.serve.problems import MEDIA_TYPE, Problem
from signbind_jax.serve.service import Service
from signbind_jax.serve.settings import ServeSettings
from signbind_jax.serve.streaming import add_streams
from signbind_jax.use.bundle_examples import Example

PAGE = Path(__file__).with_name("page")
LONGEST_WAIT_S = 60.0
_UPLOAD_SCHEMA = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@dataclass(frozen=True)
class Served:
    """What an application serves.

    Attributes:
      service: takes jobs to their answers.
      about: of the translator.
      settings: limits.
      uploads: the directory that recordings are written to.
      token: see `Access`.
      holistic: what browsers find landmarks with, see `serve.holistic`; None: the server does.
      examples: recordings that came with the translator.
    """

    service: Service
    about: About
    settings: ServeSettings
    uploads: Path
    token: str
    holistic: Path | None = None
    examples: Sequence[Example] = ()


def make_app(served: Served) -> FastAPI:
    """The application; its service starts with it."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI):
        await served.service.start()
        yield

    app = FastAPI(
        title="SignBind-JAX",
        version="1",
        summary="Recordings of signing in, sentences out.",
        description=served.about.errs,
        lifespan=lifespan,
        docs_url=None,  # its page comes from another host
        redoc_url=None,
        responses={"default": {"model": ProblemAnswer, "content": {MEDIA_TYPE: {}}}},
    )
    app.add_middleware(Access, token=served.token, wasm=served.holistic is not None)
    _add_problems(app, served)
    _add_jobs(app, served)
    add_streams(app, served.service, served.settings)
    _add_facts(app, served)
    add_examples(app, served.examples)
    if served.holistic is not None:
        app.mount("/holistic", _Kept(directory=served.holistic), name="holistic")
    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    return app


class _Kept(StaticFiles):
    """Large files that a browser keeps, and only asks whether they are still the same."""

    def file_response(self, *arguments, **options) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _add_problems(app: FastAPI, served: Served) -> None:
    """Tells what goes wrong as RFC 9457 has it."""

    def told(problem: Problem) -> JSONResponse:
        served.service.metrics.refused.labels(str(problem.status)).inc()
        return problem.response()

    @app.exception_handler(Problem)
    async def refuse(_: Request, problem: Problem):
        return told(problem)

    @app.exception_handler(HTTPException)
    async def refuse_http(request: Request, error: HTTPException):
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return told(Problem(error.status_code, detail, dict(error.headers or {})))

    @app.exception_handler(RequestValidationError)
    async def refuse_values(_: Request, error: RequestValidationError):
        first = error.errors()[0]
        return told(Problem(422, f"{first['loc'][-1]}: {first['msg']}"))

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception):
        return told(Problem(500, outcome(error)[1]))


def _add_jobs(app: FastAPI, served: Served) -> None:
    service, jobs, settings = served.service, served.service.jobs, served.settings

    @app.post("/v1/jobs", status_code=202, openapi_extra=_UPLOAD_SCHEMA)
    async def translate(request: Request, response: Response) -> Accepted:
        """Takes a recording on: a video, a .pose file, or an .npz file of signbind extract."""
        job_id = uuid.uuid4().hex
        with jobs.place():
            path, name = await upload.receive(
                request,
                served.uploads / job_id,
                settings.most_upload_bytes,
                settings.upload_s,
                videos=served.holistic is None,
            )
            job = _added(lambda: jobs.add(job_id, path, name), path)
        service.metrics.upload_bytes.inc(path.stat().st_size)
        service.add(job)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return Accepted(id=job.id)

    @app.get("/v1/jobs/{job_id}")
    async def ask(
        job_id: str,
        wait: Annotated[
            float, Query(ge=0, le=LONGEST_WAIT_S, description="seconds to wait for its end")
        ] = 0.0,
    ) -> JobAnswer:
        """How far a job is; its answer once there is one."""
        job = jobs.get(job_id)
        if wait:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.ended.wait(), wait)
            job = jobs.get(job_id)  # it may have been deleted
        return JobAnswer.of(job, jobs)

    @app.get("/v1/jobs/{job_id}/landmarks", response_model=LandmarksAnswer)
    async def see(job_id: str) -> Response:
        """The landmarks that were read of a job's recording."""
        job = jobs.get(job_id)
        if job.pose is None:
            raise Problem(404, "no landmarks: not read yet, or the recording has none")
        return JSONResponse(await asyncio.to_thread(landmarks.compact, job.pose))

    @app.delete("/v1/jobs/{job_id}", status_code=204)
    async def forget(job_id: str) -> None:
        """Forgets a job and all that came of it."""
        jobs.forget(jobs.get(job_id))


def _added(add: Callable, path: Path):
    try:
        return add()
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Problem(507, f"the job cannot be noted: {error.strerror or error}") from error


def _add_facts(app: FastAPI, served: Served) -> None:
    @app.get("/v1/translator")
    async def translator() -> About:
        """What is loaded, what it was trained on, and what is refused."""
        return served.about

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether it works; 503 while it stops."""
        if served.service.jobs.stopping:
            raise Problem(503, "the server is stopping")
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counters for Prometheus."""
        text = served.service.metrics.text()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

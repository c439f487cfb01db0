"""What the server answers, as OpenAPI describes it."""

from typing import Any

from pydantic import BaseModel, Field

from signbind_jax.serve.jobs import Job, Jobs, State


class Accepted(BaseModel):
    """A recording was taken on."""

    id: str = Field(description="ask for it as /v1/jobs/{id}")


class JobAnswer(BaseModel):
    """How far a job is, and its answer once there is one."""

    id: str
    name: str = Field(description="of the uploaded file")
    state: State
    progress: float = Field(
        description="share of its steps (waiting, reading, translating) that are behind it"
    )
    ahead: int = Field(description="unanswered jobs that were taken on before it")
    notes: list[str] = Field(description="what to know of the recording")
    has_landmarks: bool = Field(description="whether /v1/jobs/{id}/landmarks has any")
    result: dict[str, Any] | None = Field(
        description="once done: id, text (the sentence), streams (by name: what was read, with "
        "start and end in seconds and confidence 0..1), fused, words with estimated times, "
        "no_input (streams that had nothing to read)"
    )
    problem: str | None = Field(description="once failed or lost: why, in one line")

    @classmethod
    def of(cls, job: Job, jobs: Jobs) -> "JobAnswer":
        """That of a job."""
        return cls(
            id=job.id,
            name=job.name,
            state=job.state,
            progress=job.progress,
            ahead=jobs.ahead(job),
            notes=job.notes,
            has_landmarks=job.pose is not None,
            result=job.result,
            problem=job.problem,
        )


class LandmarksAnswer(BaseModel):
    """The landmarks of a recording, for pictures of it."""

    fps: float
    keypoints: list[str]
    lines: dict[str, list[list[int]]] = Field(
        description="body, face, lips, hands: chains of keypoints that lines join"
    )
    frames: list[list[int | None]] = Field(
        description="x and y of each keypoint in hundredths of a shoulder width, y downwards; "
        "null where it was not seen"
    )


class ProblemAnswer(BaseModel):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="why, in one line")

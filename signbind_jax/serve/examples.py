"""Examples that came with the translator, for those who have no recording at hand."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from signbind_jax.serve.problems import Problem
from signbind_jax.use.bundle_examples import Example


class ExampleAnswer(BaseModel):
    """An example."""

    name: str = Field(description="of its file, at /v1/examples/{name}")
    bytes: int
    text: str = Field(description="what is signed in it")


def add_examples(app: FastAPI, examples: Sequence[Example]) -> None:
    """Adds the requests for examples."""
    path_of = {example.name: example.path for example in examples}
    listed = [
        ExampleAnswer(name=e.name, bytes=e.path.stat().st_size, text=e.text) for e in examples
    ]

    @app.get("/v1/examples")
    async def list_examples() -> list[ExampleAnswer]:
        """Recordings that came with the translator; none where a run is served."""
        return listed

    @app.get("/v1/examples/{name}", response_class=FileResponse)
    async def get_example(name: str) -> FileResponse:
        """The file of an example, to be uploaded as any other."""
        if name not in path_of:
            raise Problem(404, "no example of that name")
        return FileResponse(path_of[name], media_type="application/octet-stream")

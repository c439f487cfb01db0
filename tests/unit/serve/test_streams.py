"""Signing that arrives frame by frame at a real `signbind serve`."""

import base64

import numpy as np
import pytest

import signbind_jax as sb
from tests.unit.serve.serving import serving
from tests.unit.serve.test_serve import metric, refused

TOKEN = "a token of tests"
FPS = 30


@pytest.fixture(scope="module")
def server(runs, tmp_path_factory):
    """A server with a token and room for one stream."""
    workdir = tmp_path_factory.mktemp("serve")
    options = ["--most_streams=1", "--warm_up_s=0", "--max_new_tokens=8"]
    with serving(runs / "alignment", workdir, *options, token=TOKEN) as found:
        yield found


@pytest.fixture(scope="module")
def frames(runs):
    """The frames of a recording as JSON has them."""
    with np.load(runs / "a.npz") as file:
        landmarks = np.concatenate([file["keypoints"], file["scores"][..., None]], -1)
    return landmarks.tolist()


@pytest.fixture
def stream(server):
    """The path of an open stream, closed at the end."""
    opened = server.client.post("/v1/streams", json={"fps": FPS, "width": 640, "height": 360})
    assert opened.status_code == 201, opened.text
    assert opened.json() | {"id": ""} == {"id": "", "longest_s": 0.8, "crops": False}
    path = f"/v1/streams/{opened.json()['id']}"
    yield path
    assert server.client.delete(path).status_code == 204
    assert metric(server, "streams") == 0


def test_updates_come_with_the_frames_and_the_end_is_the_recording(server, stream, frames, runs):
    whole = sb.load_translator(runs / "alignment", max_new_tokens=8)(runs / "a.npz").to_json()
    for number in (1, 2):  # sentences
        final = []
        for first in range(0, len(frames), 6):
            given = {"first": first, "landmarks": frames[first : first + 6]}
            answer = server.client.post(f"{stream}/frames", json=given)
            assert answer.status_code == 200, answer.text
            update = answer.json()
            assert update["seconds"] == pytest.approx((first + 6) / FPS, abs=1e-3)
            assert not update["is_final"] and update["translation"] is None
            assert update["final"]["signing"][: len(final)] == final
            final = update["final"]["signing"]
        end = server.client.post(f"{stream}/end").json()
        assert end["is_final"] and end["sentence"] == whole["text"]
        assert end["translation"] == whole | {"id": f"sentence {number}"}
    assert metric(server, "update_seconds_count") >= 8


def test_what_is_wrong_is_one_line_and_the_sentence_goes_on(server, stream, frames, runs):
    client = server.client
    crops = base64.b64encode(bytes(2 * 8 * 8)).decode()

    def frames_refused(status=422, content=None, **given):
        body = {"content": content} if content is not None else {"json": given}
        return refused(client.post(f"{stream}/frames", **body), status)

    first = {"first": 0, "landmarks": frames[:12]}
    assert client.post(f"{stream}/frames", json=first).status_code == 200
    assert "found frame 6, wanted 12" in frames_refused(first=6, landmarks=frames[6:9])
    assert "found none, wanted at least 1" in frames_refused(first=12)
    assert "found 1.20 s of signing" in frames_refused(first=12, landmarks=frames)
    ragged = [frames[12][:-1] + [[1.0, 2.0]]]
    assert "as many numbers" in frames_refused(first=12, landmarks=ragged)
    assert "landmarks" in frames_refused(first=12, landmarks=[[["x", 1.0]]])
    assert "as before" in frames_refused(first=12, landmarks=[frames[12][:91]])
    of_two = {"height": 8, "width": 8, "data": crops}
    assert "1 of landmarks, 2 of crops" in frames_refused(
        first=12, landmarks=frames[12:13], crops=of_two
    )
    assert "whole crops" in frames_refused(first=12, crops=of_two | {"height": 7})
    assert "base64" in frames_refused(first=12, crops=of_two | {"data": "%"})
    assert "JSON" in frames_refused(content=b"{")
    assert "more than 8,000,000 bytes" in frames_refused(413, content=bytes(8_000_001))
    assert "no stream of this id" in refused(client.post("/v1/streams/none/end"), 404)
    assert "fps" in refused(client.post("/v1/streams", json={"fps": 0}), 422)
    busy = client.post("/v1/streams", json={"fps": FPS})
    assert "found 1 streams, wanted less than 1" in refused(busy, 503)
    assert int(busy.headers["retry-after"])
    nobody = {"Authorization": ""}
    refused(client.post(f"{stream}/end", headers=nobody), 401)
    rest = {"first": 12, "landmarks": frames[12:]}
    assert client.post(f"{stream}/frames", json=rest).status_code == 200
    whole = sb.load_translator(runs / "alignment", max_new_tokens=8)(runs / "a.npz")
    assert client.post(f"{stream}/end").json()["sentence"] == whole.text
    assert "found none" in refused(client.post(f"{stream}/end"), 422)
    described = client.get("/openapi.json").json()["paths"]
    body = described["/v1/streams/{stream_id}/frames"]["post"]["requestBody"]
    assert {"first", "landmarks", "crops"} == body["content"]["application/json"]["schema"][
        "properties"
    ].keys()
    assert "#/$defs" not in str(body)  # which leads nowhere

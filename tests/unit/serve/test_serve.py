"""`signbind serve` as its users meet it: a real process, real uploads."""

import concurrent.futures
import json
import re
import signal
import socket
import time

import httpx2
import numpy as np
import psutil
import pytest

import signbind_jax as sb
from tests import drawn_faces, frame_corpora
from tests.conftest import signbind
from tests.unit.serve.serving import WAIT_S, serving

TOKEN = "a token of tests"


@pytest.fixture(scope="module")
def server(runs, tmp_path_factory):
    """A server without a token, that refuses what is larger than 1 MB or longer than 2 seconds."""
    workdir = tmp_path_factory.mktemp("serve")
    (workdir / "uploads").mkdir()
    (workdir / "uploads" / "left.mp4").write_bytes(b"by a server that was killed")
    limits = ["--most_upload_mb=1", "--most_seconds=2", "--batch_size=4", "--warm_up_s=1"]
    with serving(runs / "alignment", workdir, *limits, "--about=of the tests") as found:
        found.uploads = workdir / "uploads"
        yield found


@pytest.fixture(scope="module")
def translator(runs):
    """What the server has loaded."""
    return sb.load_translator(runs / "alignment")


def refused(answer: httpx2.Response, status: int) -> str:
    """The one line that a refusal says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["title"]
    assert "\n" not in problem["detail"]
    return problem["detail"]


def metric(server, name: str) -> float:
    text = server.client.get("/metrics").text
    return float(re.search(rf"^signbind_{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


def test_an_uploaded_recording_comes_back_as_what_the_translator_says(server, runs, translator):
    wanted = translator(runs / "a.npz").to_json()
    while metric(server, "warm_ups_left"):
        time.sleep(0.1)
    compiled = metric(server, "programs_compiled_total")
    job_id = server.add(runs / "a.npz", "päivä.npz")
    job = server.answer(job_id)
    assert (job["state"], job["name"], job["progress"]) == ("done", "päivä.npz", 1)
    assert job["result"] == wanted | {"id": job_id}
    assert job["problem"] is None and job["has_landmarks"]
    assert metric(server, "programs_compiled_total") == compiled > 0, "not compiled ahead"
    landmarks = server.client.get(f"/v1/jobs/{job_id}/landmarks").json()
    assert landmarks["fps"] == 30 and len(landmarks["frames"]) == 24
    left = landmarks["keypoints"].index("left_shoulder")
    assert landmarks["frames"][0][2 * left] == pytest.approx(50, abs=1)  # half a shoulder width
    # Nothing is left of it on disk, nor of what an earlier server left.
    assert list(server.uploads.iterdir()) == []
    assert server.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert "no job" in refused(server.client.get(f"/v1/jobs/{job_id}"), 404)


def test_recordings_sent_at_once_are_all_answered_in_batches(server, runs, translator):
    n, batches = 12, metric(server, "batch_clips_count")
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        ids = list(pool.map(lambda _: server.add(runs / "a.npz"), range(n)))
        jobs = list(pool.map(server.answer, ids))
    assert len(set(ids)) == n and {job["state"] for job in jobs} == {"done"}
    assert [job["result"]["id"] for job in jobs] == ids
    # Which of them shared a batch hangs on time; in what batch a clip is changes its last bits.
    wanted = {translator(runs / "a.npz").text, translator([runs / "a.npz"] * 4)[0].text}
    assert {job["result"]["text"] for job in jobs} <= wanted
    assert metric(server, "batch_clips_count") - batches <= n


def test_a_file_of_tokens_is_translated_and_what_it_lacks_is_told(server, tmp_path):
    rows = [["COME", 0.1, 0.5], ["HOME", 0.7, 1.2, 0.5]]
    lines = [{"id": name, "seconds": 1.5, "streams": {"signing": rows}} for name in "xy"]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text(json.dumps(lines[0]))
    two.write_text("\n".join(map(json.dumps, lines)))
    job, other = (server.answer(server.add(path)) for path in (one, two))
    tokens = job["result"]["streams"]["signing"]
    assert [token["token"] for token in tokens] == ["COME", "HOME"]
    assert any("tokens from a file have no hidden vectors" in note for note in job["notes"])
    assert not job["has_landmarks"]
    refused(server.client.get(f"/v1/jobs/{job['id']}/landmarks"), 404)
    assert other["problem"] == "two.jsonl: found 2 clips, wanted one"


def test_what_cannot_be_read_is_told_in_one_line_and_harms_no_other(server, runs, tmp_path):
    broken, long, nobody = (tmp_path / f"{name}.npz" for name in ("broken", "long", "nobody"))
    broken.write_bytes(b"PK\3\4 no archive")
    frame_corpora.write_pose(long, 72)
    np.savez(nobody, keypoints=np.zeros((8, 133, 2)), fps=25.0)
    ids = [server.add(path) for path in (broken, long, nobody, runs / "a.npz")]
    told = [server.answer(job_id) for job_id in ids]
    assert [job["state"] for job in told] == ["failed", "failed", "failed", "done"]
    assert told[0]["problem"].startswith("broken.npz: cannot be read as .npz")
    assert told[1]["problem"] == "long.npz: found 2.4 seconds, wanted at most 2"
    assert told[2]["problem"].startswith("nobody.npz: pose: ")
    assert all(str(server.uploads) not in str(job["problem"]) for job in told)
    assert list(server.uploads.iterdir()) == []


def test_uploads_that_are_none_are_refused(server, runs, tmp_path):
    client, data = server.client, (runs / "a.npz").read_bytes()
    assert "wanted multipart/form-data" in refused(client.post("/v1/jobs", content=data), 415)
    (tmp_path / "notes.txt").write_text("no recording")
    assert "notes.txt: found that ending" in refused(server.upload(tmp_path / "notes.txt"), 415)
    two = [("file", ("a.npz", data)), ("file", ("b.npz", data))]
    assert "found another field" in refused(client.post("/v1/jobs", files=two), 422)
    torn = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.npz"\r\n\r\nPK'
    body = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "no whole file" in refused(client.post("/v1/jobs", content=torn, headers=body), 422)
    assert "damaged" in refused(client.post("/v1/jobs", content=b"--y", headers=body), 400)
    name = "../../etc/" + "x" * 300 + ".npz"
    job_id = server.add(runs / "a.npz", name)
    assert server.answer(job_id)["name"] == ("x" * 300 + ".npz")[-200:]
    assert list(server.uploads.iterdir()) == []


def test_what_is_too_large_is_refused_before_it_has_arrived(server):
    head = "POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; "
    declared = f"{head}boundary=x\r\nContent-Length: 3000000000\r\n\r\n"
    answer = talk(server, declared.encode())
    assert answer.startswith(b"HTTP/1.1 413 ") and b"found more than 1,000,000 bytes" in answer
    # One that does not say how large it is, is refused where it gets too large.
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.npz"\r\n\r\n'
    chunks = [part, *[bytes(100_000)] * 11]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    answer = talk(server, f"{head}boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert list(server.uploads.iterdir()) == []


def talk(server, request: bytes) -> bytes:
    """The answer to bytes, while the connection stays open for more of them."""
    url = server.client.base_url
    with socket.create_connection((url.host, url.port), WAIT_S) as connection:
        connection.sendall(request)
        return answer_on(connection)


def answer_on(connection: socket.socket) -> bytes:
    """The next answer, of one JSON object."""
    answer = b""
    while b"\r\n\r\n" not in answer or b"}" not in answer:
        more = connection.recv(65536)
        assert more, answer
        answer += more
    return answer


def test_unknown_jobs_and_values_are_problems(server):
    client = server.client
    assert "no job of this id" in refused(client.get("/v1/jobs/none"), 404)
    assert "no job of this id" in refused(client.delete("/v1/jobs/none"), 404)
    assert "wait: " in refused(client.get("/v1/jobs/none?wait=soon"), 422)
    assert "/v2" in refused(client.get("/v2"), 404)
    assert "PUT /v1/jobs" in refused(client.put("/v1/jobs"), 405)


def test_it_says_what_is_loaded_and_how_it_is_asked(server):
    client = server.client
    assert client.get("/health").json() == {"status": "ok"}
    about = client.get("/v1/translator").json()
    assert [stream["name"] for stream in about["streams"]] == ["signing"]
    (trained_on,) = about["trained_on"]
    assert (trained_on["corpus"], trained_on["clips"], about["synthetic"]) == ("folder", 4, False)
    assert about["note"] == "of the tests" and about["unknown"] == []
    assert "can be wrong" in about["errs"] and about["limits"]["most_seconds"] == 2
    described = client.get("/openapi.json").json()
    assert {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/translator"} <= described["paths"].keys()
    upload = described["paths"]["/v1/jobs"]["post"]
    assert "multipart/form-data" in upload["requestBody"]["content"]


def test_the_page_and_all_that_it_loads_come_from_the_server(server):
    page = server.client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["content-type"].startswith("text/html")
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert not re.findall(r" style=| on\w+=", page.text), "the policy forbids it"
    loaded = re.findall(r"(?:src|href)=\"([\w.]+)\"", page.text)
    assert {"main.js", "style.css", "icon.svg", "openapi.json"} == set(loaded)
    while loaded:
        answer = server.client.get(f"/{loaded.pop()}")
        assert answer.status_code == 200
        loaded += re.findall(r"from \"\./([\w.]+)\"", answer.text)


def test_pages_of_other_origins_get_nothing(server, runs):
    client, data = server.client, {"file": ("a.npz", (runs / "a.npz").read_bytes())}
    elsewhere = {"Origin": "https://elsewhere.example"}
    assert "Origin" in refused(client.post("/v1/jobs", files=data, headers=elsewhere), 403)
    # A name of elsewhere that was made to lead here.
    assert "Host" in refused(
        client.get("/v1/translator", headers={"Host": "elsewhere.example"}), 421
    )
    assert "access-control-allow-origin" not in client.get("/health", headers=elsewhere).headers


def test_after_a_crash_every_job_is_lost_by_its_id_and_a_full_queue_refuses(
    runs, tmp_path, environment
):
    video = drawn_faces.write_video(
        tmp_path / "hang.mp4", [drawn_faces.plain(drawn_faces.HANG)] * 4
    )
    options = ["--most_waiting=3", f"--environment={environment}", "--warm_up_s=0"]
    workdir = tmp_path / "work"
    with serving(runs / "alignment", workdir, *options, token=TOKEN) as server:
        # The first is read for ever, the others wait for it.
        ids = [server.add(video, "first.mp4")] + [server.add(runs / "a.npz") for _ in range(2)]
        full = server.upload(runs / "a.npz")
        assert "found 3 jobs waiting" in refused(full, 503) and int(full.headers["retry-after"])
        assert [server.ask(job_id)["ahead"] for job_id in ids] == [0, 1, 2]
        server.client.delete(f"/v1/jobs/{ids[2]}")
        assert refused(server.client.get("/v1/translator", headers={"Authorization": ""}), 401)
        wrong = {"Authorization": f"Bearer {TOKEN}r"}
        assert refused(server.client.get(f"/v1/jobs/{ids[0]}", headers=wrong), 401)
        assert server.client.get("/", headers=wrong).status_code == 200
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        _, alive = psutil.wait_procs(children, WAIT_S)
        assert not alive, "processes outlive the server"
    with serving(runs / "alignment", workdir, *options, token=TOKEN) as server:
        for job_id in ids[:2]:
            job = server.ask(job_id)
            assert job["state"] == "lost" and "upload the recording again" in job["problem"]
        refused(server.client.get(f"/v1/jobs/{ids[2]}"), 404)
        assert not any((workdir / "uploads").iterdir())

        # The process that reads dies: that costs its job alone.
        stuck = server.add(video, "stuck.mp4")
        waiting = server.add(runs / "a.npz")
        while server.ask(stuck)["state"] != "reading":
            pass
        reader = next(
            child
            for child in psutil.Process(server.process.pid).children()
            if "spawn_main" in " ".join(child.cmdline())
        )
        reader.kill()
        job = server.answer(stuck)
        assert job["state"] == "failed" and "the process that read it died" in job["problem"]
        assert server.answer(waiting)["state"] == "done"

        # SIGTERM: who waits for an answer is told, and the server ends well.
        last = server.add(video, "last.mp4")
        url, bearer = server.client.base_url, f"Authorization: Bearer {TOKEN}"
        with socket.create_connection((url.host, url.port), WAIT_S) as connection:
            connection.sendall(f"GET /health HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n".encode())
            answer_on(connection)  # it was accepted, so that the next request is heard
            ask = f"GET /v1/jobs/{last}?wait=60 HTTP/1.1\r\nHost: x\r\n{bearer}\r\n\r\n"
            connection.sendall(ask.encode())
            server.process.terminate()
            assert b'"state":"lost"' in answer_on(connection)
        assert server.process.wait(WAIT_S) == 0


def test_what_a_server_cannot_start_with_is_one_line(runs, tmp_path, monkeypatch):
    def error(*options, checkpoint=runs / "alignment") -> str:
        given = [f"--checkpoint={checkpoint}", f"--workdir={tmp_path / 'work'}", *options]
        done = signbind("serve", *given, check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    monkeypatch.delenv("SIGNBIND_TOKEN", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot be used: Address already in use" in error(f"--port={taken.getsockname()[1]}")
    assert "found no token, wanted --token or $SIGNBIND_TOKEN" in error("--host=0.0.0.0")
    assert "--token: found 5 characters" in error("--token=short")
    assert "found nothing there, wanted a bundle" in error("--port=0", checkpoint=tmp_path / "none")
    assert "stage: found signing" in error("--port=0", checkpoint=runs / "signing")
    assert signbind("serve", "--checkpoint=x", "--batch_size=0", check=False).returncode == 2

"""`signbind serve`: loads a translator and serves it until it is stopped."""

import argparse
import contextlib
import dataclasses
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from signbind_jax import files
from signbind_jax.errors import SignBindError, from_extra
from signbind_jax.generation import config as generation_config
from signbind_jax.processes import interrupts
from signbind_jax.ranges import Range, argument, hints_of
from signbind_jax.serve.reading import Reading
from signbind_jax.serve.settings import ServeSettings

TOKEN = "SIGNBIND_TOKEN"
_LEAST_TOKEN = 16  # characters
_HELP = {
    "batch_size": "recordings that are translated in one call",
    "readers": "processes that read uploads, about 0.4 GB of memory each",
    "most_upload_mb": "megabytes of an upload",
    "most_seconds": "duration of a recording",
    "most_waiting": "jobs without an answer; more are refused",
    "most_streams": "streams of signing that arrives frame by frame; more are refused",
    "most_connections": "connections at one time; more are refused",
    "upload_s": "seconds in which an upload has to arrive",
    "read_s": "seconds in which a recording has to be read, landmarks of a video included",
    "keep_s": "seconds for which an answer is kept",
    "most_kept": "answers that are kept; the oldest are forgotten first",
    "warm_up_s": "while nothing waits, the programs that recordings of up to so many seconds need "
    "are compiled ahead; 0: when the first comes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `signbind serve`."""
    from signbind_jax.use.opening import add_translator_arguments

    add_translator_arguments(parser)
    parser.add_argument(
        "--about", default="", metavar="TEXT", help="shown on the page, such as whose system it is"
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path("runs/serve"),
        metavar="DIR",
        help="for uploads until they are read, and the ids of jobs (default: %(default)s)",
    )
    parser.add_argument(
        "--environment",
        type=Path,
        metavar="DIR",
        help="virtual environment with MediaPipe, for videos; made when the first one comes if it "
        "is not there (default: in the user's cache)",
    )
    parser.add_argument(
        "--landmarks",
        choices=("server", "browser"),
        default="server",
        help="who finds the landmarks of a video; browser: MediaPipe runs in the page, videos stay "
        "there, and --environment is not needed (default: %(default)s)",
    )
    parser.add_argument(
        "--holistic",
        type=Path,
        metavar="DIR",
        help="files of MediaPipe's npm package for --landmarks=browser, fetched by npm when the "
        "server starts if they are not there (default: in the user's cache)",
    )
    _add_address(parser)
    limits = parser.add_argument_group("limits and speed")
    for field in dataclasses.fields(ServeSettings):
        limits.add_argument(
            f"--{field.name}",
            type=argument(hints_of(ServeSettings)[field.name]),
            default=field.default,
            metavar="N",
            help=f"{_HELP[field.name]} (default: {field.default:g})",
        )
    generation_config.add_arguments(parser)


def _add_address(parser: argparse.ArgumentParser) -> None:
    """Adds where a server listens, and to whom."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; any but this machine's own needs a token (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--port",
        type=argument(Annotated[int, Range(0, 65535)]),
        default=8000,
        help="0: any that is free, as the line says that is printed (default: %(default)s)",
    )
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN, ""),
        help="what requests have to carry as Authorization: Bearer TOKEN; others see arguments of "
        f"commands, so rather set it as ${TOKEN}",
    )


def run(arguments: argparse.Namespace) -> int:
    """`signbind serve`: a page and an HTTP interface for a trained translator.

    The page takes a recording or the camera and shows what was read and the sentence;
    /openapi.json describes the interface. It listens on this machine alone unless --host says
    otherwise. SIGTERM and Ctrl-C stop it: the batch under way is answered, other jobs are told
    lost.
    """
    _check_token(arguments.token, arguments.host)
    with from_extra("serve", "signbind serve"):
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    from signbind_jax.serve import holistic
    from signbind_jax.serve.http_server import bind

    if arguments.landmarks == "browser":
        arguments.holistic = holistic.ready(arguments.holistic)
    elif arguments.holistic is not None:
        raise SignBindError("--holistic: found it with --landmarks=server, wanted browser")
    with contextlib.ExitStack() as stack:
        uploads = stack.enter_context(_workdir(arguments.workdir))
        bound = stack.enter_context(bind(arguments.host, arguments.port))
        _serve(arguments, uploads, bound)
    return 0


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_token(token: str, host: str) -> None:
    if token and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        raise SignBindError(
            f"--token: found {len(token)} characters, wanted at least {_LEAST_TOKEN}, printable "
            "ASCII"
        )
    if not token and not _is_local(host):
        raise SignBindError(
            f"--host={host}: found no token, wanted --token or ${TOKEN}: others can reach it there"
        )


@contextlib.contextmanager
def _workdir(workdir: Path) -> Iterator[Path]:
    """The directory for uploads, empty, in a working directory that no other server uses.

    Raises:
      SignBindError: another server uses it; it cannot be made.
    """
    uploads = workdir / "uploads"
    with contextlib.ExitStack() as stack:
        try:
            uploads.mkdir(parents=True, exist_ok=True)
            for directory in (workdir, uploads):
                directory.chmod(0o700)
            if stack.enter_context(files.trying_to_lock(workdir)) is None:
                raise SignBindError(
                    f"--workdir={workdir}: another server uses it, wanted a directory of its own"
                )
            for left in uploads.iterdir():  # by a server that was killed
                left.unlink()
        except OSError as error:
            raise SignBindError(
                f"--workdir={workdir}: cannot be used: {error.strerror or error}"
            ) from error
        yield uploads


def _serve(arguments: argparse.Namespace, uploads: Path, bound: socket.socket) -> None:
    from signbind_jax.serve.about import about
    from signbind_jax.serve.app import Served, make_app
    from signbind_jax.serve.http_server import HttpServer
    from signbind_jax.serve.jobs import Jobs
    from signbind_jax.serve.journal import Journal
    from signbind_jax.serve.metrics import Metrics
    from signbind_jax.serve.service import Service
    from signbind_jax.serve.warm_up import warm_ups
    from signbind_jax.use.opening import find_bundle
    from signbind_jax.use.translator import Translator

    names = [field.name for field in dataclasses.fields(ServeSettings)]
    settings = ServeSettings(**{name: getattr(arguments, name) for name in names})
    with contextlib.ExitStack() as stack:
        # One thread for all that JAX does, loading included.
        translate = stack.enter_context(ThreadPoolExecutor(1, "signbind translator"))
        given = generation_config.given(arguments)
        opened = translate.submit(Translator, arguments.checkpoint, given, step=arguments.step)
        translator = opened.result()
        reader = translator.reader
        journal = stack.enter_context(contextlib.closing(Journal(arguments.workdir / "jobs")))
        jobs = Jobs(journal, settings)
        reading = Reading(
            reader.lip_size, settings.most_seconds, settings.read_s, arguments.environment
        )
        ahead = warm_ups(translator, settings.warm_up_s, settings.batch_size)
        service = Service(jobs, translator, translate, reading, settings, Metrics(jobs), ahead)
        known = about(
            translator.facts,
            reader.readers.values(),
            settings,
            landmarks=arguments.landmarks,
            crops=reader.lip_size is not None,
            note=arguments.about,
        )
        bundle = find_bundle(arguments.checkpoint, arguments.step)
        app = make_app(
            Served(
                service,
                known,
                settings,
                uploads,
                token=arguments.token,
                holistic=arguments.holistic,
                examples=bundle.examples() if bundle else (),
            )
        )
        host, port = bound.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"

        def tell() -> None:
            print(f"serving {known.name} at {url}", flush=True)

        HttpServer(app, settings.most_connections, tell, service.stop).run([bound])
        print("signbind: stopped", file=sys.stderr)
        if service.warming_up:  # to compile may take minutes more
            interrupts.end_process(0)

"""TPU VM pods through `gcloud compute tpus queued-resources` and `tpu-vm`."""

import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from signbind_jax.errors import SignBindError
from signbind_jax.launch.launcher import Launcher
from signbind_jax.launch.programs import Done

# States of a queued resource (Cloud TPU API v2, QueuedResourceState). ABSENT is ours.
ABSENT, ACTIVE, DELETING, FAILED = "ABSENT", "ACTIVE", "DELETING", "FAILED"
LOST = {"SUSPENDING", "SUSPENDED"}  # preempted, or taken back by the service
WAITING = {"CREATING", "ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING"}

# The software version that Cloud TPU documents for JAX on each generation.
RUNTIMES = {
    "v2": "tpu-ubuntu2204-base",
    "v3": "tpu-ubuntu2204-base",
    "v4": "tpu-ubuntu2204-base",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}

_CAPACITY = {"spot": ["--spot"], "reserved": ["--reserved"], "on_demand": []}


class QueuedResource:
    """One queued resource and the TPU VMs in it, by the name of its job.

    Args:
      launcher: whose command line says zone, project, accelerator, runtime, capacity, slices,
        valid_until, gcloud_flag and ssh_flag.
    """

    def __init__(self, launcher: Launcher):
        self.launcher, self.arguments = launcher, launcher.arguments
        name, slices = self.arguments.name, self.arguments.slices
        self.nodes = [name] if slices == 1 else [f"{name}-{i}" for i in range(slices)]

    def state(self, pretend: str = ACTIVE) -> str:
        """Its state in the API's words, told where it has changed; ABSENT where there is none."""
        done = self._queued(
            "describe",
            "--format=value(state.state)",
            what="asking for the state",
            pretend=pretend,
            accept="NOT_FOUND",
        )
        # NOT_FOUND stands on standard error; an empty state is a request of this second.
        state = ABSENT if done.code else done.stdout.strip() or "CREATING"
        if not re.fullmatch("[A-Z_]{1,60}", state):
            raise self.launcher.error(
                f"gcloud: state.state: found {state[:60]!r}, wanted one such as ACTIVE"
            )
        if not self.launcher.dry_run:
            self.launcher.tell(state)
        return state

    def create(self) -> None:
        """Asks for the TPUs; what is there already is left as it is."""
        a = self.arguments
        nodes = (
            [f"--node-id={a.name}"]
            if a.slices == 1
            else [f"--node-count={a.slices}", f"--node-prefix={a.name}"]
        )
        until = [f"--valid-until-duration={a.valid_until}"] if a.valid_until else []
        # A try whose answer was lost may have worked.
        self._queued(
            "create",
            f"--accelerator-type={a.accelerator}",
            f"--runtime-version={a.runtime}",
            *nodes,
            *_CAPACITY[a.capacity],
            *until,
            *a.gcloud_flag,
            "--async",
            what="creating the queued resource",
            accept="ALREADY_EXISTS",
        )

    def delete(self) -> None:
        """Deletes it with its TPU VMs and waits until it is gone."""
        what = "deleting the queued resource"
        self._queued("delete", "--force", "--async", what=what, accept="NOT_FOUND|DELETING")
        self.wait(lambda state: state == ABSENT, pretend=ABSENT)

    def wait(self, ended: Callable[[str], bool], pretend: str = ACTIVE) -> str:
        """The first state for which `ended` holds."""
        while not ended(state := self.state(pretend)):
            time.sleep(self.arguments.poll)
        return state

    def why(self) -> str:
        """What the service says about its state, in one line."""
        done = self._queued("describe", "--format=value(state)", what="asking for the reason")
        return " ".join(done.stdout.split())[:300]

    def ssh(
        self,
        what: str,
        *remote: str,
        worker: str = "all",
        stream: bool = False,
        node: str | None = None,
        **how,
    ) -> Done:
        """Runs one command on workers, its arguments as given, in the home directory.

        Args:
          worker: an index, or "all".
          node: one slice; None for every slice, one after the other.
          how: pretend, tries of `Programs.run`.
        """
        done = Done(0, "", "")
        for name in [node] if node else self.nodes:
            done = self._gcloud(
                "tpu-vm",
                "ssh",
                name,
                f"--worker={worker}",
                f"--command={shlex.join(remote)}",
                *self.arguments.ssh_flag,
                what=what,
                stream=stream,
                **how,
            )
        return done

    def script(self, what: str, *arguments: str, **how) -> Done:
        """Runs `worker.sh` with arguments on workers; see `ssh`."""
        return self.ssh(what, "bash", "signbind/worker.sh", *arguments, **how)

    def copy(self, what: str, files: list[Path], folder: str) -> None:
        """Copies files to a folder of the home directory on every worker of every slice."""
        for name in self.nodes:
            self._gcloud(
                "tpu-vm",
                "scp",
                *map(str, files),
                f"{name}:{folder}/",
                "--worker=all",
                *self.arguments.ssh_flag,
                what=what,
            )

    def _queued(self, verb: str, *flags: str, what: str, **how) -> Done:
        return self._gcloud("queued-resources", verb, self.arguments.name, *flags, what=what, **how)

    def _gcloud(self, group: str, verb: str, *rest: str, what: str, **how) -> Done:
        a = self.arguments
        project = [f"--project={a.project}"] if a.project else []
        argv = ["gcloud", "compute", "tpus", group, verb, *rest, f"--zone={a.zone}", *project]
        return self.launcher.do([*argv, "--quiet"], what, **how)


def runtime_for(accelerator: str) -> str:
    """The software version of an accelerator type such as v5litepod-16.

    Raises:
      SignBindError: it is of no known generation.
    """
    generation = accelerator.partition("-")[0]
    if generation not in RUNTIMES:
        raise SignBindError(
            f"--accelerator: found {accelerator!r}, wanted one that starts with "
            f"{', '.join(RUNTIMES)} (as v5litepod-16), or --runtime=VERSION "
            "beside it"
        )
    return RUNTIMES[generation]

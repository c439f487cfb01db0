"""`signbind launch gke`: TPUs of a GKE cluster, through xpk."""

import argparse
import base64
import shlex
import tempfile
import time
from pathlib import Path

from signbind_jax import files
from signbind_jax.errors import INTERRUPTED, INTERRUPTED_VARIABLE, SignBindError
from signbind_jax.launch import job as jobs
from signbind_jax.launch.launcher import Launcher

ACTIONS = {
    "run": "starts the command and watches it; starts it again where the workload had failed",
    "start": "creates the workload; does nothing where it is",
    "watch": "shows state and process 0's log until the workload ends",
    "resume": "deletes a workload that failed and creates it again",
    "delete": "deletes the workload",
}

# A pod that is taken away has this long to save; GKE gives spot machines less
# (docs/use/launch_on_clusters.md).
_GRACE_S = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `signbind launch gke`."""
    jobs.add_arguments(parser, ACTIONS)
    parser.add_argument(
        "--cluster", type=jobs.word, required=True, help="made with `xpk cluster create`"
    )
    jobs.add_tpu_arguments(parser, "as v5litepod-16; needed to start")
    image = "container image with signbind in it (launch/Dockerfile); needed to start"
    jobs.add_word(parser, "image", "IMAGE", image)
    storage = "storage of the cluster, attached with `xpk storage attach`"
    jobs.add_list(parser, "storage", "NAME", storage, jobs.word)
    shared = "where that storage is mounted; the working directory lies beneath"
    jobs.add_list(parser, "shared", "DIR", shared)
    restarts = "of the workload by the cluster, after interruptions only"
    jobs.add_number(parser, "max_restarts", 50, restarts)
    flag = "goes to xpk workload create as it is, as --xpk_flag=--priority=high"
    jobs.add_list(parser, "xpk_flag", "FLAG", flag)


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Arguments, checked as far as this machine can."""
    arguments = jobs.parse(parser, argv, {"run", "start", "resume"})
    if arguments.action in ("run", "start", "resume"):
        for name in ("accelerator", "image"):
            if not getattr(arguments, name):
                parser.error(f"--{name}: found none, wanted one for {arguments.action}")
    for name, value in arguments.job.environment.items():
        if "\n" in value:
            parser.error(
                f"--env={name}: found a value of several lines, wanted one: xpk reads "
                "variables line by line"
            )
    jobs.check_paths(
        parser,
        arguments.job.command,
        arguments.shared,
        "attach storage (xpk storage attach), give its name with --storage and its "
        "mount point with --shared=DIR",
    )
    return arguments


def run(arguments: argparse.Namespace) -> int:
    """Runs a signbind command as a workload of a GKE cluster.

    signbind launch gke run --name=signing --cluster=tpus --zone=us-central2-b
    --accelerator=v5litepod-16 --image=REGISTRY/signbind:1 --storage=data --shared=/mnt/data --
    signbind train --config=signing --workdir=/mnt/data/signing

    The cluster restarts the workload after an interruption by itself (exit codes 75 and 127 to
    255), and training goes on from its working directory.

    Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted here (the workload goes on).
    """
    return _Launch(arguments).act()


class _Launch(Launcher):
    goes_on = "the workload goes on"
    seen = ""  # time stamp of the last line of the log that was shown

    def run(self) -> int:
        self.resume()
        return self.watch()

    def start(self) -> int:
        if self._state(pretend="absent") == "absent":
            self._create()
        return 0

    def resume(self) -> int:
        again = self.arguments.action == "resume"
        state = self._state(pretend="Failed" if again else "absent")
        if state == "Failed":
            self._delete()
            state = "absent"
        if state == "absent":
            self._create()
        return 0

    def watch(self) -> int:
        if (state := self.until(self._look)) == "absent":
            raise self.error(
                f"found no such workload on cluster {self.arguments.cluster}, wanted one; `start` "
                "it"
            )
        return 0 if state == "Completed" else 1

    def delete(self) -> int:
        if self._state(pretend="Running") == "absent":
            self.say("there is none")
            return 0
        self.confirm("delete the workload?")
        self._delete()
        return 0

    def _create(self) -> None:
        a = self.arguments
        self.say(jobs.in_words(self.job))
        with tempfile.TemporaryDirectory() as folder:
            # Names alone: xpk takes the values from its own environment, so that they are
            # neither in a file nor on a command line. (They are in the cluster's pod spec.)
            names = Path("DIR/environment" if a.dry_run else f"{folder}/environment")
            if a.dry_run:
                self.programs.say(
                    f"environment holds {', '.join(self.job.environment) or 'nothing'}"
                )
            else:
                names.write_text("".join(f"{name}\n" for name in self.job.environment))
            environment = [f"--env-file={names}"] if self.job.environment else []
            self._xpk(
                "create",
                f"--workload={self.job.name}",
                f"--tpu-type={a.accelerator}",
                f"--num-slices={a.slices}",
                f"--docker-image={a.image}",
                f"--command={in_one_line(self.job.command)}",
                f"--max-restarts={a.max_restarts}",
                f"--restart-on-exit-codes={INTERRUPTED}",
                f"--termination-grace-period-seconds={_GRACE_S}",
                *environment,
                *(f"--storage={name}" for name in a.storage),
                *a.xpk_flag,
                what="creating the workload",
                environment=self.job.environment,
            )

    def _delete(self) -> None:
        self._xpk("delete", f"--workload={self.job.name}", "--force", what="deleting the workload")
        while self._state(pretend="absent") != "absent":
            time.sleep(self.arguments.poll)

    def _look(self) -> str | None:
        state = self._state(pretend="Completed")
        if state in ("Running", "Completed", "Failed"):
            self._show_log()
        return state if state in ("Completed", "Failed", "absent") else None

    def _state(self, pretend: str) -> str:
        """Of the JobSet: "absent", "Running", "Suspended" (queued), "Completed" or "Failed"."""
        if not self.told:
            # Also writes the credentials that kubectl needs.
            self._xpk("list", f"--filter-by-job={self.job.name}", what="asking the cluster")
        get = ["kubectl", "get", "jobset", self.job.name, "--output=json"]
        done = self.do(get, "asking for the state", accept="NotFound")
        if self.dry_run:
            self.told = pretend
            return pretend
        where = f"{self.job.name}: kubectl get jobset"
        self.tell("absent" if done.code else _state_of(files.parse_json(done.stdout, where), where))
        return self.told.partition(",")[0]

    def _show_log(self) -> None:
        """Prints what is new in the log of process 0: the first pod of the first slice."""
        labels = (
            f"jobset.sigs.k8s.io/jobset-name={self.job.name},"
            "jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0"
        )
        since = [f"--since-time={self.seen}"] if self.seen else []
        try:
            done = self.do(
                ["kubectl", "logs", f"--selector={labels}", "--timestamps", "--tail=1000", *since],
                "reading the log of process 0",
                tries=1,
                # No pod yet, or one that is being replaced.
                accept="NotFound|waiting to start|ContainerCreating|PodInitializing|No resources",
            )
        except SignBindError as error:
            self.programs.say(str(error))  # what is missed now is shown at the next look
            return
        before = self.seen
        for line in done.stdout.splitlines(keepends=True):
            # Stamps are of fixed width and sort as text; --since-time, in whole seconds, repeats
            # some lines.
            stamp, _, text = line.partition(" ")
            if stamp > before:
                self.programs.show(text)
                self.seen = stamp

    def _xpk(self, verb: str, *flags: str, what: str, environment: dict | None = None) -> None:
        a = self.arguments
        project = [f"--project={a.project}"] if a.project else []
        place = [f"--cluster={a.cluster}", f"--zone={a.zone}", *project]
        self.do(["xpk", "workload", verb, *place, *flags], what, environment=environment)


def in_one_line(command: tuple[str, ...]) -> str:
    """A command for `xpk workload create --command`, whatever is in its arguments.

    xpk pastes it into YAML and that into a shell: no quote, newline or dollar may be in it.
    """
    # exec, so that the signal that ends a pod reaches the command and no shell before it.
    told = f"export {INTERRUPTED_VARIABLE}={INTERRUPTED}"
    script = f"{told}\nexec {shlex.join(command)}\n".encode()
    return f"exec bash <(echo {base64.b64encode(script).decode()} | base64 -d)"


def _state_of(jobset: object, where: str) -> str:
    """The state that a JobSet tells: one that was just made has no status yet.

    Raises:
      SignBindError: a field is not what it should be.
    """
    status = {"conditions": [], "restarts": 0}
    if not isinstance(jobset, dict) or "status" in jobset:
        status |= files.field(jobset, "status", dict, where)
    conditions = {
        files.field(condition, "type", str, f"{where}: conditions")
        for condition in files.field(status, "conditions", list, f"{where}: status")
        if files.field(condition, "status", str, f"{where}: conditions") == "True"
    }
    restarts = files.field(status, "restarts", int, f"{where}: status")
    for state in ("Completed", "Failed", "Suspended"):
        if state in conditions:
            return state
    return f"Running, restart {restarts}" if restarts else "Running"

"""What a server counts, for Prometheus."""

import jax
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from signbind_jax.serve.jobs import Jobs, State

_COMPILED = "/jax/core/compile/backend_compile_duration"  # an event of JAX, once a program
_UNDER_WAY = (State.QUEUED, State.READING, State.TRANSLATING)


class Metrics:
    """The counters of one server; one for all of a process.

    Attributes:
      answered: jobs by the state they ended in.
      refused: requests by status.
      upload_bytes: of recordings that were taken on.
      step_s: seconds that jobs spent in a state.
      batch_clips: recordings translated in one call.
      streams: of signing that arrives frame by frame, open now.
      update_s: seconds from frames of a stream to what is known then.
      warm_ups_left: calls that will be made to compile what they need.
    """

    def __init__(self, jobs: Jobs):
        self.registry = registry = CollectorRegistry()
        given = {"registry": registry, "namespace": "signbind"}
        self.answered = Counter("jobs_answered", "jobs by how they ended", ["state"], **given)
        self.refused = Counter("requests_refused", "requests by status", ["status"], **given)
        self.upload_bytes = Counter("upload_bytes", "bytes of recordings taken on", **given)
        self.step_s = Histogram("step_seconds", "seconds of a job in a state", ["state"], **given)
        sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
        self.batch_clips = Histogram(
            "batch_clips", "recordings translated in one call", buckets=sizes, **given
        )
        self.streams = Gauge("streams", "open streams", **given)
        self.update_s = Histogram("update_seconds", "seconds to an update of a stream", **given)
        self.warm_ups_left = Gauge("warm_ups_left", "programs still to be compiled ahead", **given)
        under_way = Gauge("jobs", "jobs without an answer, by state", ["state"], **given)
        for state in _UNDER_WAY:
            of_state = under_way.labels(state.value)
            of_state.set_function(lambda s=state: sum(job.state is s for job in jobs))
        compiled = Counter("programs_compiled", "programs that XLA compiled or loaded", **given)

        def count(event: str, *_, **__) -> None:
            if event == _COMPILED:
                compiled.inc()

        jax.monitoring.register_event_duration_secs_listener(count)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)

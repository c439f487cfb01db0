"""What a server allows and how it works: the options of `signbind serve` with their defaults."""

from dataclasses import dataclass
from typing import Annotated

from signbind_jax.ranges import Checked, Count, NonNegative, Positive, Range, Whole


@dataclass(frozen=True)
class ServeSettings(Checked):
    """Limits of a server.

    Attributes:
      batch_size: recordings that are translated in one call.
      readers: processes that read uploads.
      most_upload_mb: megabytes of a request with a recording.
      most_seconds: duration of a recording.
      most_waiting: jobs that are not answered yet; more are refused.
      most_streams: of signing that arrives frame by frame; more are refused.
      most_connections: open at one time; requests on more are refused.
      upload_s: seconds that a request may take to arrive.
      read_s: seconds that a recording may take to be read, landmarks of a video included.
      keep_s: seconds for which an answer is kept.
      most_kept: answers that are kept; the oldest are forgotten first.
      warm_up_s: recordings of up to so many seconds get what they need compiled before they come.
    """

    batch_size: Annotated[int, Range(1, 256)] = 8
    readers: Annotated[int, Range(1, 64)] = 1
    most_upload_mb: Positive = 200.0
    most_seconds: Positive = 60.0
    most_waiting: Count = 64
    most_streams: Whole = 2
    most_connections: Count = 256
    upload_s: Positive = 120.0
    read_s: Positive = 600.0
    keep_s: NonNegative = 900.0
    most_kept: Count = 1000
    warm_up_s: NonNegative = 6.0

    @property
    def most_upload_bytes(self) -> int:
        """Of a request with a recording."""
        return int(self.most_upload_mb * 1e6)

"""How well `signbind data spellings` does at error rates of an expert that is simulated.

    python -m benchmarks.spelling_discovery [--made_up=PERCENT] [--false_discovery=SHARE]

Sentences, spelled words and times are those of the hard preset. Of the letters a share is wrong:
half of these are replaced, a third missed, a sixth made up. In some of the clips in which nothing
is spelled three to seven letters are read all the same.
"""

import collections
import time

from benchmarks.harness import make_parser
from signbind_jax.data_pipelines.spelling_discovery import DiscoveryConfig
from signbind_jax.data_pipelines.spellings import discover, score
from signbind_jax.data_pipelines.synthetic.hard.corpus import Performance
from signbind_jax.data_pipelines.synthetic.misread import misread


def main() -> None:
    """Prints a row for each error rate."""
    parser = make_parser(__doc__)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--errors", default="0,15,30,45,60", help="in percent of the letters")
    parser.add_argument(
        "--made_up", type=float, default=30, help="percent of the clips without spelling"
    )
    parser.add_argument("--false_discovery", type=float, default=DiscoveryConfig().false_discovery)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    clips = [Performance.of(0, "main", i).truth() for i in range(given.clips)]
    often = collections.Counter(t.token for c in clips for t in c.streams["fingerspelling"])
    config = DiscoveryConfig(false_discovery=given.false_discovery)
    truth = {clip.id: clip for clip in clips}
    print("errors %  precision %  recall %  found  true  runs  unclear clips  seconds")
    for errors in map(float, given.errors.split(",")):
        began = time.monotonic()
        noise = errors / 100, given.made_up / 100, often, given.seed
        found, counts = discover(clips, [misread(clip, *noise) for clip in clips], "", config)
        counts |= score(found, truth)
        print(
            f"{errors:8.0f} {counts['precision']:12.1f} {counts['recall']:9.1f} "
            f"{counts['spelled words']:6d} {counts['truly spelled words']:5d} "
            f"{counts['runs of letters']:5d} {counts['unclear clips']:14d} "
            f"{time.monotonic() - began:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

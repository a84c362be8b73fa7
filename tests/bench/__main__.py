"""Speed and scale beside the peers: same inputs, same run, one thread; medians of paired repetitions with their range.

`nox -s bench` runs all of it, `nox -s bench -- distances` one group, `nox -s bench -- features scale` single parts;
with `--quick` each runs once, tiny. A ratio above 1 means ours is faster.
"""

import argparse
import os
from collections.abc import Callable

import torch
from threadpoolctl import threadpool_info

from bench import attention, checkpoints, curvature, distances, extraction, landscape, models, scale, training
from bench.timing import Options, say

Part = Callable[[Options], None]

GROUPS: dict[str, dict[str, Part]] = {
    "distances": {
        "features": distances.from_features,
        "moments": distances.from_moments,
        "infinity": distances.to_infinity,
        "tasks": distances.tasks,
        "extraction": extraction.end_to_end,
        "memory": scale.memory,
        "scale": scale.large_sets,
    },
    "models": {"prefix": models.key_value_prefix},
    "attention": {
        "rollout": attention.rollout,
        "rollout-518": attention.vector_form,
        "gradcam": attention.grad_cam,
        "deletion": attention.deletion,
        "maps": attention.all_maps,
    },
    "training": {"steps": training.steps, "finetuning": training.finetuning, "probe": training.probe},
    "landscape": {
        "slice": landscape.slice_overhead,
        "folded": landscape.folded_slice,
        "large-grid": landscape.large_grid,
    },
    "curvature": {
        "products": curvature.hessian_products,
        "eigenvalues": curvature.eigenvalues,
        "traces": curvature.traces,
    },
    "checkpoints": {"inspect": checkpoints.inspect},
}
"""Every part by group and name."""


def main() -> None:
    """Run the parts that are named."""
    parts = {name: part for group in GROUPS.values() for name, part in group.items()}
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    known = f"groups ({', '.join(GROUPS)}) or parts ({', '.join(parts)})"
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{known}; all by default")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition: numbers mean nothing")
    defaults = Options()
    for flag, about in (
        ("gpu-rate", "assumed images/s a GPU"),
        ("cores", "assumed CPU cores a GPU"),
        ("read-rate", "assumed MB/s a GPU of reading"),
        ("shards", "assumed shards a process"),
    ):
        value = getattr(defaults, flag.replace("-", "_"))
        parser.add_argument(f"--{flag}", type=type(value), default=value, help=f"{about} ({value:g})")
    given = vars(parser.parse_args())
    names = given.pop("parts") or list(GROUPS)
    if unknown := [name for name in names if name not in GROUPS and name not in parts]:
        parser.error(f"there is no {', '.join(unknown)}; there are {known}")
    options = Options(**given)
    torch.set_num_threads(1)
    kernels = sorted({each.get("architecture") or each["internal_api"] for each in threadpool_info()})
    say(f"{os.cpu_count()} cores; BLAS kernels: {', '.join(kernels)}; load before: {os.getloadavg()[0]:.1f}")
    if options.quick:
        say("QUICK: tiny sizes, one repetition. No number here says anything about speed.")
    for part in dict.fromkeys(each for name in names for each in GROUPS.get(name, [name])):
        parts[part](options)


if __name__ == "__main__":
    main()

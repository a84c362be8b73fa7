"""How far the loss rises along random directions, over directions, batches and runs."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from vptft.evidence.verdicts import SEEDS_FOR_A_VERDICT
from vptft.report.figures.surfaces import draw_profiles
from vptft.report.sections.columns import METHOD, Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.why.landscape.surfaces import Surfaces

CAUTION = (
    "A step is as long as each filter, which rescaling a layer does not change; the confidence of a network does: "
    "where the training loss is small, so is all that rises from it. VPT and FT move different parameters, so a step "
    "of one is no step of the other."
)


def _pictures(results: Sequence[Surfaces], context: Context) -> Iterator[Picture]:
    yield Picture(
        name="landscape-profiles",
        figure=draw_profiles(results),
        alt="Training and test loss along random directions, mean over directions, for each run: VPT and FT by task.",
        caption="Loss along random directions from each run; a line a run, the mean over directions and batches, bands "
        "their range.",
    )


def over_runs(results: Sequence[Surfaces]) -> pd.DataFrame:
    """Rise of the loss at the largest step that all runs of a task and method have: mean and range over runs."""
    rises = pd.concat(
        [each.rises().assign(task=each.task, method=each.method, space=each.space) for each in results],
        ignore_index=True,
    )
    by = ["task", "method", "space", "split"]
    shared = rises.groupby([*by, "step"], as_index=False, sort=False).agg(
        rise=("rise", "mean"), least=("rise", "min"), most=("rise", "max"), n_runs=("rise", "size"),
        n_directions=("n_directions", "min"), n_batches=("n_batches", "min"),
        picture=("reading", lambda all_: (all_ == "picture").any()),
    )  # fmt: skip
    every = shared[shared["n_runs"] == shared.groupby(by)["n_runs"].transform("max")]
    out = every.loc[every.groupby(by, sort=False)["step"].idxmax()].reset_index(drop=True)
    of_one = np.where(out["picture"], "picture", "average of a run")
    return out.assign(reading=np.where(out["n_runs"] < SEEDS_FOR_A_VERDICT, of_one, "average over runs"))


def _tables(results: Sequence[Surfaces]) -> list[Table]:
    return [
        table(
            over_runs(results),
            "Rise of the loss at the largest step along random directions, nats: mean over runs with their range.",
            [
                Column("task", "task"),
                METHOD,
                Column("moves", "space"),
                Column("loss of", "split"),
                Column("step, filter norms", "step", ".2g"),
                Column("rise", "rise", "+.3f", ("least", "most")),
                Column("runs", "n_runs", "d"),
                Column("directions", "n_directions", "d"),
                Column("batches", "n_batches", "d"),
                Column("reading", "reading"),
            ],
        )
    ]


ANALYSIS = Analysis(
    key="landscape-slices", kind=Surfaces, heading="How far the loss rises", caution=CAUTION,
    command="landscape --what slices", many=True, pictures=_pictures, tables=_tables,
    name=lambda result: f"{result.analysis}: {result.label}",
)  # fmt: skip

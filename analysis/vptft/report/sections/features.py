"""What tuning left of the pretrained features."""

from collections.abc import Iterator, Sequence

import pandas as pd

from vptft.report.figures.features import draw_drift, draw_forgetting, draw_layers, draw_written
from vptft.report.sections.columns import METHOD, Column, table, training_images
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.why.features.preservation import FeaturePreservation

CAUTION = (
    "Similarity of features is of these images and says nothing of which differences matter: a small change can be the "
    "one that decides. The reference set stands for pretraining's images; forgetting is measured on other tasks of the "
    "suite, not on what the backbone was trained on."
)


def _pictures(results: Sequence[FeaturePreservation], context: Context) -> Iterator[Picture]:
    yield Picture(
        name="features-layers",
        figure=draw_layers(results),
        alt="Debiased CKA between pretrained and tuned features on the reference set, by layer, method and token kind.",
        caption="Debiased linear CKA with the pretrained network on the reference set, layer by layer; thick lines are "
        "means over a method's tasks.",
    )
    if any(len(each.drift) for each in results):
        yield Picture(
            name="features-drift",
            figure=draw_drift(results),
            alt="Relative change of each block's weights, and the effective rank of the change, by method.",
            caption="How far each block's weights moved, and over how many directions; methods that move none are not "
            "in it.",
        )
    if any(len(each.written) for each in results):
        yield Picture(
            name="features-written",
            figure=draw_written(results),
            alt="Size of what prompts write into tokens by layer, and its share on class directions.",
            caption="What prompts write: tokens with prompts less without, beside the tokens' own size, and the part "
            "that lies along the directions between classes.",
        )
    if any((each.table["role"] == "other task").any() for each in results):
        yield Picture(
            name="features-forgetting",
            figure=draw_forgetting(results),
            alt="Change of k-NN accuracy on tasks a model was not trained on, by method.",
            caption="Forgetting: change of a probe's accuracy on tasks that were not trained on, against the "
            "pretrained network.",
        )


def _tables(results: Sequence[FeaturePreservation]) -> list[Table]:
    frame = pd.DataFrame([
        {
            "task": each.task, "backbone": each.backbone, "method": each.method, "n": each.n_train,
            "accuracy": each.accuracy,
            "cka": each.scalar("cka"), "patches": each.scalar("cka", kind="patches"),
            "neighbours": each.scalar("neighbour_overlap"), "own": each.scalar("cka", role="own task"),
            "knn": each.change("knn"), "linear": each.change("linear"),
            "drift": float(each.drift["relative_norm"].median()) if len(each.drift) else 0.0,
        }
        for each in results
    ])  # fmt: skip
    means = frame.groupby(["task", "backbone", "method", "n"], as_index=False, sort=False).mean()
    backbones = [Column("backbone", "backbone")] if means["backbone"].nunique() > 1 else []
    return [
        table(
            means,
            "What tuning left of the last layer's features, mean over seeds: debiased CKA with the pretrained network "
            "(1: the same) and overlap of nearest neighbours on the reference set; change of accuracy above chance on "
            "tasks that were not trained on (0.01 is a point); median relative change of a block's weights.",
            [
                Column("task", "task"),
                *backbones,
                METHOD,
                *training_images(means, "n"),
                Column("accuracy, %", "accuracy", ".1f", scale=100),
                Column("CKA, class token", "cka", ".3f"),
                Column("CKA, patches", "patches", ".3f"),
                Column("CKA, own task", "own", ".3f"),
                Column("neighbours", "neighbours", ".3f"),
                Column("k-NN elsewhere", "knn", "+.3f"),
                Column("probe elsewhere", "linear", "+.3f"),
                Column("weights moved", "drift", ".3g"),
            ],
        )
    ]


ANALYSIS = Analysis(
    key="features", kind=FeaturePreservation, heading="Features", caution=CAUTION, command="features", many=True,
    pictures=_pictures, tables=_tables, name=lambda result: f"{result.analysis}: {result.label}",
)  # fmt: skip

"""Numbers of attention maps over every test image."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.attention_scores import (
    draw_attention_curves,
    draw_attention_layers,
    draw_attention_sanity,
    draw_attention_scores,
)
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.why.attention.comparison import EVERY, AttentionComparison
from vptft.why.attention.maps import OUTCOMES

CAUTION = (
    "A map that stays the same when weights are put in random order, or for another class, says little of this "
    "model: those kinds are drawn hollow. A better map is not a better model, and outcomes are chosen by what "
    "is compared."
)
SHOWN = ("on_object", "pointing", "iou_area", "faithfulness_tokens", "faithfulness_pixels", "map_entropy_bits")


def _pictures(results: Sequence[AttentionComparison], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="attention-scores",
            figure=draw_attention_scores(result),
            alt="Difference VPT minus FT of each score of each kind of map, with 95% intervals.",
            caption="Scores of maps over all images, VPT minus FT: positive where VPT's are better, but of patches in "
            "use, which say only how widely a map is spread; hollow: the kind fails a sanity check.",
        )
        for way in dict.fromkeys(result.curves["way"]):
            yield Picture(
                name=f"attention-curves-{way}",
                figure=draw_attention_curves(result, way=way),
                alt=f"Deletion and insertion curves by {way} for each kind of map and task.",
                caption=f"Probability of the explained class as {way} are taken away or put in, in the map's order; "
                "grey is a random order.",
            )
        yield Picture(
            name="attention-layers",
            figure=draw_attention_layers(result),
            alt="Attention distance, entropy and share on prompts by layer, VPT and FT, for each task.",
            caption="How far and how evenly each layer looks, and how much of it at prompts, over all images: "
            "attention-weighted distance between patches (Dosovitskiy et al. 2021), entropy over all tokens (more "
            "prompts, more tokens), share on the layer's prompts; bands are the range over seeds.",
        )
        if len(result.sanity):
            yield Picture(
                name="attention-sanity",
                figure=draw_attention_sanity(result),
                alt="Likeness of each kind of map to itself as weights are randomised, and for another class.",
                caption="Sanity checks (Adebayo et al. 2018): a map of this model must change with its weights.",
            )


def _tables(results: Sequence[AttentionComparison]) -> list[Table]:
    made = []
    for result in results:
        frame = result.frame()
        made.append(
            table(
                frame[(frame["outcome"] == EVERY) & (frame["primary"] | frame["score"].isin(SHOWN))],
                "Scores of maps over all images, whatever the outcome: shares, overlaps and areas from 0 to 1 (0.01 is "
                "a point), entropies in bits.",
                [
                    Column("task", "task"),
                    Column("map", "map"),
                    Column("score", "score"),
                    Column("VPT", "vpt", ".3f"),
                    Column("FT", "ft", ".3f"),
                    Column("VPT − FT", "difference", "+.3f", ("low", "high")),
                    Column("images", "n_images", "d"),
                    Column("seeds", "n_seeds", "d"),
                    Column("fails", "failed"),
                ],
            )
        )
        made.append(
            table(
                result.masses,
                "Where the mass of each kind of map goes, mean over images.",
                [
                    Column("task", "task"),
                    Column("map", "map"),
                    Column("on", "tokens"),
                    Column("VPT", "vpt", ".3f"),
                    Column("FT", "ft", ".3f"),
                    Column("VPT − FT", "difference", "+.3f", ("low", "high")),
                ],
            )
        )
        made.append(
            table(
                result.outcomes,
                "Images by outcome, mean over seeds.",
                [Column("task", "task"), *(Column(name, name, ".1f") for name in OUTCOMES)],
            )
        )
    return made


ANALYSIS = Analysis(
    key="attention-comparison", kind=AttentionComparison, heading="Attention in numbers", caution=CAUTION,
    command="attention RUNS --scores", pictures=_pictures, tables=_tables,
)  # fmt: skip

"""What the page of the paper's tables says: sentences made from its results."""

import math

import pandas as pd

from vptft.evidence.verdicts import LEVEL
from vptft.published.audit import Audit
from vptft.published.claims import Published
from vptft.report.figures.style import signed, with_interval

TITLE = "VPT or full finetuning? What the paper's own tables show"
SUBTITLE = (
    "Han et al., Facing the Elephant in the Room: Visual Prompt Tuning or Full Finetuning? ICLR 2024, arXiv "
    "2401.12902, Tables 1 to 20 · accuracies are means of five trainings, whose spread is not printed"
)
QUESTION = (
    "Which of the paper's claims do the numbers in its tables support, at 5% after correction for the claims that are "
    "tested together?"
)
HEADINGS = {
    "claims": "What the tables do and do not show",
    "gaps": "Who wins where",
    "plane": "By distance and objective",
    "data-size": "Training images",
    "backbones": "Backbones side by side",
    "audit": "Does the arithmetic agree with itself?",
    "reproduction": "Your runs beside the printed numbers",
}
CAUTIONS = {
    "claims": "Not supported is not refuted: with so few tasks a real effect can easily be missed, see the smallest "
    "mean effect that would be found. Intervals are over tasks, as if these were drawn from many like them; they hold "
    "neither training draws nor searches. Holm's correction depends on which claims are tested together, and both "
    "lists were made when the tables were known: a p near 5% after correction decides little either way.",
    "gaps": "A gap here is a difference of two rounded means: 0.1 points can be rounding. VPT was searched over prompt "
    "lengths that FT does not have. Tasks are grouped by hand, and two of them can share images (CLEVR, dSprites, "
    "SmallNORB), which makes them less than two.",
    "plane": "Distances are printed for FGVC alone, whose objectives are all near. VTAB-1k is in the quadrants by the "
    "paper's grouping: Specialized for far data, Structured for a far objective, which tells nothing of their data. A "
    "rule that names VPT nearly everywhere is right as often as VPT wins.",
    "data-size": "One draw of training images a size, and no spread between draws is printed: a crossing can be the "
    "draw. The axis of each panel is its own. Five tasks are printed at two sizes only and have no slope.",
    "backbones": "One scale for all: gaps of a point are hardly seen. Backbones differ in more than their pretraining "
    "(data, recipe, search), and nothing here tells what the difference comes from.",
    "audit": "A discrepancy says that two printed numbers do not go together, not which of them is wrong.",
}
CAPTION_CLAIMS = (
    "Effect of every claim that is in points of accuracy. Filled: supported by the rule above; open: inconclusive. "
    "Claims in other units (slope, share, correlation) are in the tables below."
)
CAPTION_GAPS = (
    "VPT minus FT on VTAB-1k, supervised ViT-B/16, as printed in Tables 1 and 2. A tie is a tie: clevr_distance, which "
    "the paper counts as won."
)
CAPTION_SIZES = (
    "Accuracy against training images, one panel a task, each with its own axis; Tables 5 and 6, sizes 400, 800, 5,000 "
    "and 10,000 where they are printed. At 800 the numbers are those of Tables 1 and 2."
)
CAPTION_PLANE = (
    "FGVC, full training sets: the printed FID to ImageNet, who wins, by how much; five tasks, means of five "
    "trainings, no interval."
)
CAPTION_CROSSINGS = (
    "The same numbers with the gap below: the line fitted to it, and on the zero line the sizes at which it may be "
    "zero (bar) and n* (diamond), where there are."
)
CAPTION_BACKBONES = "VPT minus FT on the same 19 tasks from four backbones (Tables 1, 2 and 7 to 15)."
SUMMARY_NAMES = {"ft_then_pt": "FT-then-PT", "vpt": "VPT", "ft": "FT", "mixed": "Mixed", "lora": "LoRA"}
BLOCK_NAMES = {
    "imagenet21k_supervised": "supervised", "mae": "MAE", "moco_v3": "MoCo v3", "vit_b16": "ViT-B/16",
    "swin_b": "Swin-B", "vtab1k": "VTAB-1k", "one_shot": "one-shot", "data_scale": "sizes", "fgvc": "FGVC",
    "lora": "LoRA",
}  # fmt: skip

ADJUSTED = ("p_adjusted", "p_ranks_adjusted", "p_signs_adjusted")
"""Of the same claim by its mean, by ranks, by signs."""


def answer(result: Published) -> list[str]:
    """Say which claims are supported and which are not, and where the answer hangs on the choice of the test."""
    tested = result.claims[result.claims["family"] == "paper"]
    supported = tested[tested["verdict"] == "supported"]
    refuted = tested[tested["verdict"] == "refuted"]
    overall = tested[tested["key"] == "overall"].iloc[0]
    gap = with_interval(*overall[["effect", "low", "high"]])
    said = [
        f"Of {len(tested)} claims that its tables can test, {len(supported)} are supported: {_listed(supported)}.",
        f"{len(tested) - len(supported) - len(refuted)} are inconclusive and {len(refuted)} refuted.",
        f"That VPT wins over all 19 tasks is {overall['verdict']}: {gap} points, "
        f"p = {overall['p']:.2g}, {overall['p_adjusted']:.2g} after correction.",
    ]
    besides = result.claims[(result.claims["family"] == "added") & (result.claims["verdict"] == "refuted")]
    if len(besides):
        said.append(f"Of what was asked besides, refuted: {_listed(besides)}.")
    if names := unstable(tested):
        said.append(f"By another test of the same claim the answer at 5% would change for: {names}.")
    return said


def unstable(claims: pd.DataFrame) -> str:
    """List claims for which mean, ranks and signs do not agree at 5% after correction, with the three p-values."""
    below = (claims[list(ADJUSTED)] < LEVEL).sum(axis=1)
    rows = claims[(below > 0) & (below < len(ADJUSTED))]
    return "; ".join(
        f"{row['claim']} ({row['p_adjusted']:.2g} by the mean, {row['p_ranks_adjusted']:.2g} by ranks, "
        f"{row['p_signs_adjusted']:.2g} by signs)"
        for row in rows.to_dict("records")
    )


def family_notes(claims: pd.DataFrame) -> list[str]:
    """Say of each claim that fails by the correction alone in how small a family it would hold.

    The claim with the i-th smallest p of K is multiplied by K - i + 1; the i - 1 smaller ones stay in the family.
    """
    ordered = claims.sort_values("p", kind="stable").reset_index(drop=True)
    said = []
    for before, row in enumerate(ordered.to_dict("records")):
        if row["p"] < LEVEL <= row["p_adjusted"]:
            size = before + math.ceil(LEVEL / row["p"]) - 1
            said.append(
                f"{row['claim']}: p = {row['p']:.2g} is {row['p_adjusted']:.2g} after correction over {len(claims)} "
                f"claims; it would be below 5% in a family of {size} or fewer, those with a smaller p among them."
            )
    return said


def audit_note(audit: Audit) -> str:
    """Say how many printed numbers were recomputed, and how many do not agree."""
    counts = audit.table["outcome"].value_counts()
    return (
        f"{len(audit.table)} printed numbers recomputed: {counts.get('agrees', 0)} agree, {counts.get('rounding', 0)} "
        f"differ by no more than rounding can explain, {counts.get('differs', 0)} differ by more."
    )


def percent_note(audit: Audit) -> str:
    """Say what the printed percentages of tuned parameters fit."""
    rows = audit.table[audit.table["kind"] == "tuned percent"]
    agree = int((rows["outcome"] == "agrees").sum())
    fits = agree + int(rows["note"].str.startswith("fits prompt length").sum())
    return (
        "Tuned/Total fits the printed prompt lengths only if the head is counted as tuned and the total holds "
        f"backbone, prompts and head, and then for {agree} of {len(rows)} tasks. In that reading {fits} of {len(rows)} "
        f"percentages fit exactly one of the lengths that are printed for any task, {len(rows) - agree} of them not "
        "the one printed for their own: the percentages make sense, but not together with the lengths beside them."
    )


def effect(row: pd.Series) -> str:
    """Give effect, interval and unit of a claim."""
    if row["unit"] == "points":
        return with_interval(row["effect"], row["low"], row["high"])
    digits = 2 if row["unit"] == "rho" else 1
    return (
        f"{signed(row['effect'], digits)} [{signed(row['low'], digits)}, {signed(row['high'], digits)}] {row['unit']}"
    )


def p_value(p: float) -> str:
    """Give a p-value with two figures; empty where there is none."""
    if math.isnan(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _listed(claims: pd.DataFrame) -> str:
    return "; ".join(claims["claim"]) or "none"

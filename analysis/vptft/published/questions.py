"""The paper's claims as questions to its own tables: one row each, with its one test.

Two families, each corrected by itself: what the paper claims, and what we ask of its tables besides. Every claim has
one primary test; the same claim by ranks and by signs stands beside it and never makes the family larger. The list
was made when the tables were known: it is a reading of the paper, not a registered plan.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from vptft.evidence.verdicts import REGION
from vptft.published.comparisons import (
    Measured,
    contrast,
    mean_gap,
    mean_slope,
    paired_change,
    rank_correlation,
    share_passed,
)
from vptft.published.tables import MAE, MOCO, SUPERVISED, SWIN, VIT, chosen

Family = Literal["paper", "added"]
Where = dict[str, str | float]
VTAB: Where = {"method": "vpt", "against": "ft", "setting": "vtab1k"}
MAIN: Where = {**VTAB, "backbone": VIT, "pretraining": SUPERVISED}
ON_SWIN: Where = {**VTAB, "backbone": SWIN}
WITH_MAE: Where = {**VTAB, "pretraining": MAE}
WITH_MOCO: Where = {**VTAB, "pretraining": MOCO}
ONE_SHOT: Where = {"method": "vpt", "against": "ft", "setting": "one_shot"}
SIZES: Where = {"method": "vpt", "against": "ft", "setting": "data_scale"}
LARGEST: Where = {**SIZES, "n_train": "10000"}
FGVC: Where = {"method": "vpt", "against": "ft", "setting": "fgvc"}
CONTROL = {"setting": "vtab1k", "backbone": VIT, "pretraining": SUPERVISED}
NEAR_GROUPS = ("natural", "specialized")
"""Groups whose objective the paper calls near to pretraining's."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One claim, what is measured for it, and what it predicts.

    Attributes
    ----------
    key, label, family, hypothesis
        Name, a few words for figures, family of correction, and id in the hypotheses table.
    claim, tables
        What the paper says, and the tables that hold the numbers.
    statement
        What the numbers say, with places for :class:`~vptft.published.comparisons.Measured`'s counts.
    measure
        Gets the gaps of all comparisons, and the FIDs.
    predicted
        Sign of the effect that the claim predicts.
    denied
        The claim is that the predicted effect is *not* there: support for the effect refutes it.
    unit, region
        As in :class:`~vptft.evidence.verdicts.Claim`.
    """

    key: str
    label: str
    family: Family
    hypothesis: str
    claim: str
    tables: str
    statement: str
    measure: Callable[[pd.DataFrame, pd.DataFrame], Measured]
    predicted: Literal[1, -1]
    denied: bool = False
    unit: str = "points"
    region: float | None = REGION


@dataclass(frozen=True, kw_only=True)
class Unanswerable:
    """A claim for which nothing is printed, and why it has no answer here."""

    key: str
    hypothesis: str
    claim: str
    reason: str


def _gap(where: Where) -> Callable[[pd.DataFrame, pd.DataFrame], Measured]:
    return lambda gaps, fids: mean_gap(chosen(gaps, **where))


def _against(where: Where, reference: Where) -> Callable[[pd.DataFrame, pd.DataFrame], Measured]:
    return lambda gaps, fids: paired_change(chosen(gaps, **where), chosen(gaps, **reference))


def _structured_against_others(where: Where) -> Callable[[pd.DataFrame, pd.DataFrame], Measured]:
    def measure(gaps: pd.DataFrame, fids: pd.DataFrame) -> Measured:
        frame = chosen(gaps, **where)
        far = ~frame["group"].isin(NEAR_GROUPS)
        return contrast(frame[far], frame[~far])

    return measure


COUNTS = "{won} won, {tied} tied, {lost} lost"
MOVED = "higher on {won}, lower on {lost}"
QUESTIONS: tuple[Question, ...] = (
    Question(
        key="overall", label="VPT − FT, all tasks", family="paper", hypothesis="W0",
        claim="VPT wins 16 of 19 tasks", tables="1, 2",
        statement=f"VPT − FT over all VTAB-1k tasks, supervised ViT-B/16: {COUNTS}", measure=_gap(MAIN), predicted=1,
    ),
    Question(
        key="natural", label="VPT − FT, Natural", family="paper", hypothesis="W0",
        claim="VPT wins 6 of 7 Natural tasks", tables="1",
        statement=f"VPT − FT on Natural: {COUNTS}", measure=_gap({**MAIN, "group": "natural"}), predicted=1,
    ),
    Question(
        key="specialized", label="VPT − FT, Specialized", family="paper", hypothesis="W5",
        claim="FT is preferable where the task is similar and the data are not: Specialized, VPT wins 2 of 4",
        tables="1", statement=f"VPT − FT on Specialized: {COUNTS}", predicted=-1,
        measure=_gap({**MAIN, "group": "specialized"}),
    ),
    Question(
        key="structured", label="VPT − FT, Structured", family="paper", hypothesis="W2",
        claim="VPT wins 8 of 8 Structured tasks", tables="2",
        statement=f"VPT − FT on Structured: {COUNTS}", measure=_gap({**MAIN, "group": "structured"}), predicted=1,
    ),
    Question(
        key="disparity", label="gap, Structured − others", family="paper", hypothesis="W2",
        claim="VPT wins more where the task objective is far: Structured against Natural and Specialized",
        tables="1, 2", statement="Gap on Structured minus gap on the others (grouped by hand)",
        measure=_structured_against_others(MAIN), predicted=1,
    ),
    Question(
        key="distance", label="gap by FID, FGVC", family="paper", hypothesis="W1",
        claim="VPT wins where the data distribution is close: FGVC, by printed FID", tables="19",
        statement="Rank correlation of gap and FID over the FGVC sets", unit="rho", region=None, predicted=-1,
        measure=lambda gaps, fids: rank_correlation(chosen(gaps, **FGVC), fids, "fid"),
    ),
    Question(
        key="one-shot", label="VPT − FT, one-shot", family="paper", hypothesis="W0",
        claim="One-shot, VPT wins 13 of 19 tasks", tables="3, 4",
        statement=f"VPT − FT with one image a class: {COUNTS}", measure=_gap(ONE_SHOT), predicted=1,
    ),
    Question(
        key="data-size", label="gap per doubling of data", family="paper", hypothesis="W3",
        claim="The gap shrinks as data grows", tables="5, 6",
        statement="Slope of the gap on log2 n over the tasks printed at four sizes; it falls in {lost}, rises in {won}",
        measure=lambda gaps, fids: mean_slope(chosen(gaps, **SIZES)), predicted=-1, unit="points per doubling",
        region=None,
    ),
    Question(
        key="crossing", label="FT passes VPT by 10,000", family="paper", hypothesis="W3",
        claim="FT passes VPT in 9 of 12 plotted tasks",
        tables="5, 6",
        statement="From n = 400 to 10,000 FT passes VPT in {won} of {n} printed tasks; share above one half",
        measure=lambda gaps, fids: share_passed(chosen(gaps, **SIZES)), predicted=1, unit="% of tasks", region=None,
    ),
    Question(
        key="mixed", label="VPT − Mixed", family="paper", hypothesis="Y2",
        claim="VPT beats Mixed (prompts and all weights)", tables="1, 2",
        statement=f"VPT − Mixed: {COUNTS}", measure=_gap({"method": "vpt", "against": "mixed", **CONTROL}), predicted=1,
    ),
    Question(
        key="ft-then-pt", label="VPT − FT-then-PT", family="paper", hypothesis="Y2",
        claim="VPT beats FT-then-PT", tables="1, 2",
        statement=f"VPT − FT-then-PT: {COUNTS}", predicted=1,
        measure=_gap({"method": "vpt", "against": "ft_then_pt", **CONTROL}),
    ),
    Question(
        key="mae", label="VPT − FT, MAE", family="paper", hypothesis="W4",
        claim="With MAE pretraining VPT mostly loses", tables="10 to 12",
        statement=f"VPT − FT from MAE: {COUNTS}", measure=_gap(WITH_MAE), predicted=-1,
    ),
    Question(
        key="moco", label="VPT − FT, MoCo v3", family="paper", hypothesis="W4",
        claim="With MoCo v3 pretraining VPT mostly loses",
        tables="13 to 15", statement=f"VPT − FT from MoCo v3: {COUNTS}", measure=_gap(WITH_MOCO), predicted=-1,
    ),
    Question(
        key="swin-natural", label="VPT − FT, Swin, Natural", family="paper", hypothesis="W0",
        claim="On Swin VPT wins 6 of 7 Natural tasks", tables="7",
        statement=f"VPT − FT on Natural, Swin-B: {COUNTS}", measure=_gap({**ON_SWIN, "group": "natural"}), predicted=1,
    ),
    Question(
        key="swin-specialized", label="VPT − FT, Swin, Specialized", family="paper", hypothesis="W4",
        claim="On Swin VPT wins 0 of 4 Specialized tasks",
        tables="8", statement=f"VPT − FT on Specialized, Swin-B: {COUNTS}", predicted=-1,
        measure=_gap({**ON_SWIN, "group": "specialized"}),
    ),
    Question(
        key="swin-structured", label="VPT − FT, Swin, Structured", family="paper", hypothesis="W4",
        claim="On Swin VPT wins 0 of 8 Structured tasks",
        tables="9", statement=f"VPT − FT on Structured, Swin-B: {COUNTS}", predicted=-1,
        measure=_gap({**ON_SWIN, "group": "structured"}),
    ),
    Question(
        key="mixed-ft", label="Mixed − FT", family="added", hypothesis="Y2",
        claim="Extra dimensions beside all weights do not help",
        tables="1, 2", statement=f"Mixed − FT: {COUNTS}", predicted=1, denied=True,
        measure=_gap({"method": "mixed", "against": "ft", **CONTROL}),
    ),
    Question(
        key="ft-then-pt-ft", label="FT-then-PT − FT", family="added", hypothesis="Y2",
        claim="Extra dimensions after FT do not help",
        tables="1, 2", statement=f"FT-then-PT − FT: {COUNTS}", predicted=1, denied=True,
        measure=_gap({"method": "ft_then_pt", "against": "ft", **CONTROL}),
    ),
    Question(
        key="mae-change", label="gap, MAE − supervised", family="added", hypothesis="W4",
        claim="MAE pretraining moves the gap towards FT",
        tables="1, 2, 10 to 12", statement=f"Gap from MAE minus gap from supervised, same tasks: {MOVED}",
        measure=_against(WITH_MAE, MAIN), predicted=-1,
    ),
    Question(
        key="moco-change", label="gap, MoCo v3 − supervised", family="added", hypothesis="W4",
        claim="MoCo v3 pretraining moves the gap towards FT",
        tables="1, 2, 13 to 15", statement=f"Gap from MoCo v3 minus gap from supervised, same tasks: {MOVED}",
        measure=_against(WITH_MOCO, MAIN), predicted=-1,
    ),
    Question(
        key="swin-change", label="gap, Swin − ViT", family="added", hypothesis="W4",
        claim="Swin moves the gap towards FT",
        tables="1, 2, 7 to 9", statement=f"Gap on Swin-B minus gap on ViT-B/16, same tasks: {MOVED}",
        measure=_against(ON_SWIN, MAIN), predicted=-1,
    ),
    Question(
        key="swin-overall", label="VPT − FT, Swin, all tasks", family="added", hypothesis="W0",
        claim="On Swin, too, VPT is ahead over all groups",
        tables="7 to 9", statement=f"VPT − FT over all VTAB-1k tasks, Swin-B: {COUNTS}", measure=_gap(ON_SWIN),
        predicted=1,
    ),
    Question(
        key="one-shot-disparity", label="one-shot gap, Structured − others", family="added", hypothesis="W2",
        claim="One-shot too, VPT wins more where the task objective is far", tables="3, 4",
        statement="One-shot gap on Structured minus gap on the others (grouped by hand)",
        measure=_structured_against_others(ONE_SHOT), predicted=1,
    ),
    Question(
        key="hand-distance", label="gap, Natural − Specialized", family="added", hypothesis="W1",
        claim="Among near objectives VPT wins more where data are close: Natural against Specialized", tables="1",
        statement="Gap on Natural minus gap on Specialized (distance by group, FIDs are not printed)", predicted=1,
        measure=lambda gaps, fids: contrast(
            chosen(gaps, **MAIN, group="natural"), chosen(gaps, **MAIN, group="specialized")
        ),
    ),
    Question(
        key="fgvc", label="VPT − FT, FGVC", family="added", hypothesis="W0", claim="VPT wins 4 of 5 FGVC tasks",
        tables="19",
        statement=f"VPT − FT on the FGVC tasks, full training sets: {COUNTS}", measure=_gap(FGVC), predicted=1,
    ),
)  # fmt: skip

UNANSWERABLE: tuple[Unanswerable, ...] = (
    Unanswerable(
        key="recipes", hypothesis="C0", claim="VPT and FT are compared under equal conditions",
        reason="the tables print no recipe of either side but prompt lengths",
    ),
    Unanswerable(
        key="vtab-fid", hypothesis="W1", claim="On VTAB, VPT wins where the FID is low",
        reason="the FIDs of VTAB are only in a bar chart (Figure 3), readable to about ±10",
    ),
    Unanswerable(
        key="lora", hypothesis="W0", claim="LoRA, too, beats FT (CIFAR-100 at three sizes)",
        reason="one task in one experiment (Table 20): no spread, so no interval",
    ),
    Unanswerable(
        key="overfitting", hypothesis="Y1", claim="Both methods overfit in 8 of 9 Structured tasks and one other",
        reason="read off loss curves by eye; no losses are printed",
    ),
    Unanswerable(
        key="probes", hypothesis="Y3", claim="Probes on frozen features stay below VPT",
        reason="no accuracies of probes are among these tables",
    ),
    Unanswerable(
        key="attention", hypothesis="Y4", claim="Prompts attend better",
        reason="one picture for each quadrant; no numbers are printed",
    ),
)  # fmt: skip

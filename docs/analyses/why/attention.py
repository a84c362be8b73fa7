r"""
Attention
=========

**Question (Y4).** Where does each network look, and do prompts make it look better?

**Number.** Attention rollout (Abnar and Zuidema 2020) that knows prompts. From the head's query q down to the input,
with :math:`\hat A_l = (A_l + I) / 2` and A the attention averaged over heads,

.. math:: u = \hat A_l^\top v, \qquad g_l = u_\pi, \qquad v \leftarrow u \text{ without } g_l,

where :math:`\pi` are the prompts that come in before layer l: in VPT-deep their credit :math:`g_l`, the *prompt share*,
stays with them and does not flow on. Patches, class token, registers and prompt shares sum to 1, always. Scores over
every test image stand beside the maps: the part of a map on the object, deletion and insertion, pointing, and sanity
checks by randomised weights, another class and, where runs of ``train TASK+permuted`` are given beside, permuted labels
(Adebayo et al. 2018). Both networks are explained for the same class and the same images.

**How it misleads.** Rollout shows where content *could* have come from, not what decided. A map normalised over patches
hides how much went to prompts: masses are written beneath. A kind of map that fails its sanity check is drawn hollow.
Chosen images prove nothing: maps are drawn by a seed, and numbers are over all outcomes.

**Command.** ``vptft-analyze attention VPT_RUN FT_RUN -o reports/mine``, with ``--scores`` for the numbers;
``attention checkpoints/mine checkpoints/permuted --scores`` checks maps by runs on permuted labels

**Reference.** :py:mod:`vptft.why.attention.maps`, :py:mod:`vptft.why.attention.rollout`,
:py:mod:`vptft.why.attention.scores`, :py:mod:`vptft.why.attention.comparison`

Committed maps
--------------

The quickstart's runs: DINOv2 ViT-S/14 on rendered scenes, 4 x 4 patches.
"""

from committed import REPORTS

from vptft.report.figures.attention import draw_attention, draw_prompt_share
from vptft.why.attention.maps import AttentionMaps, measure

result = AttentionMaps.load(REPORTS / "quickstart" / "results" / "attention" / "photo-category")
maps = draw_attention(result, max_images=6)

# %%
share = draw_prompt_share(result)

# %%
# Measure two networks
# --------------------
#
# The :doc:`toy </toy>` of these pages, whose object is known exactly. The masses of each row sum to 1.

import numpy as np
from toy import model, sample, squares

test, seen = squares("test", 48), sample("test")
toy = measure(
    model("vpt_deep"), model("ft"), images=seen.images, pixels=test.pixels(32), labels=test.labels, ids=test.ids,
    task="squares", masks=np.stack([test.masks(i) for i in range(48)]),
)  # fmt: skip
columns = ["patch_mass", "cls_mass", "register_mass", "prompt_mass", "on_object", "object_area"]
toy.frame().groupby("method")[columns].mean().round(3)

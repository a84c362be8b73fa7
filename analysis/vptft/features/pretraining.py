"""What an extractor's network was pretrained for, by the extractor's name."""

from collections.abc import Mapping

from vptft.models.backbones import EMBEDDED, Pretraining, pretraining_of

_NAMED: Mapping[str, Pretraining] = {
    "inception": "supervised",
    "efficientnet-lite0": "supervised",
    "pixels": "random",
    **{name: each.pretraining for name, each in EMBEDDED.items()},
}


def pretraining_of_extractor(name: str) -> Pretraining:
    """Return the pretraining objective of an extractor, whose name may end in a size.

    Pixels had no pretraining; they count as random features, which were asked nothing either.

    Examples
    --------
    >>> pretraining_of_extractor("dinov2-b:224"), pretraining_of_extractor("clip-b32"), pretraining_of_extractor("vgg")
    ('self-distilled', 'contrastive', 'unknown')
    """
    return _NAMED.get(name.partition(":")[0]) or pretraining_of(name)

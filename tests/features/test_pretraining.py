import pytest

from vptft.features.pretraining import pretraining_of_extractor


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("dinov2-s:98", "self-distilled"),
        ("dinov2-l", "self-distilled"),
        ("efficientnet-lite0", "supervised"),
        ("inception:64", "supervised"),
        ("clip-b32", "contrastive"),
        ("timm/vit_base_patch16_224.mae", "masked"),
        ("timm/vit_base_patch16_224.orig_in21k:224", "supervised"),
        ("pixels:32", "random"),
        ("tiny:32", "random"),
        ("somebody's", "unknown"),
    ],
)
def test_what_a_network_was_pretrained_for_is_known_by_its_name(name, objective):
    assert pretraining_of_extractor(name) == objective

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from vptft.errors import SettingsError
from vptft.report.figures import agreement, attention_scores, escape, lines, objective, published
from vptft.report.figures.style import (
    FT,
    SPARE,
    UNCERTAIN,
    VPT,
    dodge,
    fitted,
    looks_of,
    new_figure,
    place,
    printable,
    save_figure,
    signed,
    text_width,
    to_png,
    to_svg,
)
from vptft.tuning.methods import METHODS

SEEN = {
    "in full": np.eye(3),
    "without red cones": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]
    ],
    "without green cones": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]
    ],
}  # fmt: skip
"""Linear RGB as it is seen: Machado, Oliveira and Fernandes (2009), severity 1."""
PALETTES = {
    "methods": [(VPT.colour, VPT.marker), (FT.colour, FT.marker), *SPARE],
    "winners": [(look.colour, look.marker) for look in (VPT, FT, UNCERTAIN)],
    "verdicts": [(look.colour, look.marker) for look in published.VERDICTS.values()],
    "objectives": list(objective.OBJECTIVES.values()),
    "backbones": list(objective.BACKBONES),
    "maps": [kind[:2] for kind in attention_scores.KINDS],
    "extensions": list(escape.LOOKS.values()),
    "paths": [look[::-1] for look in lines.PATHS.values()],
}
"""Colour and marker of what stands in one figure."""


def linear(colour):
    return np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)])


def lab(rgb):
    """CIE L*a*b* of linear RGB, in daylight (D65)."""
    to_xyz = [[0.412456, 0.357576, 0.180438], [0.212673, 0.715152, 0.072175], [0.019334, 0.119192, 0.950304]]
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def lightness(colour):
    """CIE L* of a colour: what is left of it in a grey print."""
    return lab(linear(colour))[0]


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("name", [*PALETTES, "accents"])
def test_colours_of_a_figure_are_told_apart_by_colour_blind_eyes(name, sight):
    colours = agreement.ACCENTS if name == "accents" else [colour for colour, _ in PALETTES[name]]
    seen = [lab(np.asarray(SEEN[sight]) @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 15


@pytest.mark.parametrize("name", PALETTES)
def test_what_a_grey_print_makes_alike_has_another_marker_and_stands_out_from_paper(name):
    for (one, marker), (other, another) in combinations(PALETTES[name], 2):
        assert marker != another or abs(lightness(one) - lightness(other)) > 15
    assert max(lightness(colour) for colour, _ in PALETTES[name]) < 70


def test_the_lightness_of_known_colours():
    assert [round(lightness(colour), 1) for colour in ("white", "black", "red")] == [100.0, 0.0, 53.2]


def test_vpt_and_ft_differ_in_lightness_and_marker_and_stand_out_from_white():
    assert abs(lightness(VPT.colour) - lightness(FT.colour)) > 25
    assert len({VPT.marker, FT.marker, UNCERTAIN.marker}) == 3
    assert max(lightness(look.colour) for look in (VPT, FT, UNCERTAIN)) < 65


def test_methods_keep_their_look_whatever_else_is_drawn():
    assert looks_of(["ft", "vpt_deep"]) == {"vpt_deep": VPT, "ft": FT}
    assert list(looks_of(["ft", "zeta", "adapter", "vpt_deep"])) == ["vpt_deep", "ft", "adapter", "zeta"]
    assert looks_of(["lora", "linear"])["lora"] == looks_of(["lora", "bias", "mixed"])["lora"]
    many = looks_of([*METHODS, *(f"method{i}" for i in range(2))])
    assert len({(look.colour, look.marker, look.linestyle) for look in many.values()}) == len(many) == 14
    named = {many[name].label for name in METHODS}
    assert named == {
        "VPT", "FT", "Linear", "Multi-layer probe", "Partial-k", "BitFit", "VPT-shallow", "Mixed", "FT-then-PT",
        "PT-then-FT", "LoRA", "Adapter",
    }  # fmt: skip
    assert many["method0"].label == "method0"
    assert len(looks_of([f"method{i}" for i in range(30)])) == 30


@pytest.mark.parametrize(
    ("value", "text"), [(3.24, "+3.2"), (-0.44, "−0.4"), (0.04, "0.0"), (-0.04, "0.0"), (12, "+12.0")]
)
def test_signed(value, text):
    assert signed(value) == text


def test_dodged_labels_keep_order_distance_and_bounds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        positions = rng.uniform(-0.1, 1.1, 6)
        moved = dodge(positions.tolist(), 0.12)
        assert np.array_equal(np.argsort(moved), np.argsort(positions))
        assert np.diff(np.sort(moved)).min() >= 0.12 - 1e-12
        assert moved.min() >= 0
        assert moved.max() <= 1 + 1e-12


def test_labels_that_are_apart_stay():
    assert dodge([0.9, 0.1, 0.5], 0.1).tolist() == pytest.approx([0.9, 0.1, 0.5])


def test_too_many_labels_still_keep_their_distance():
    assert np.diff(np.sort(dodge([0.5] * 20, 0.1))).min() == pytest.approx(0.1)


def test_long_names_lose_their_middle_and_fit():
    short = fitted("a" * 150 + "z" * 150, 60)
    assert short.startswith("aaa")
    assert short.endswith("zzz")
    assert "…" in short
    assert text_width(short) <= 60
    assert fitted("dtd", 60) == "dtd"
    assert fitted("abc", 1) == "…"


def test_letters_the_font_lacks_are_replaced_and_overrides_removed():
    assert printable("a\N{RIGHT-TO-LEFT OVERRIDE}b\nc\x00 学") == "ab c �"
    assert printable("dollar $x^2$") == "dollar $x^2$"


def test_letters_from_right_to_left_leave_their_neighbours_in_order():
    assert printable("שלום 1") == "\N{LEFT-TO-RIGHT MARK}שלום 1\N{LEFT-TO-RIGHT MARK}"


def small_figure():
    figure = new_figure(1.5, 2)
    axes = figure.add_subplot()
    axes.plot([0, 1], [1, 3])
    axes.fill_between([0, 1], 0, [1, 2], alpha=0.3)
    axes.set_title("$not math$")
    return figure


def test_all_formats_repeat_byte_for_byte_and_hold_no_date(tmp_path):
    first = save_figure(small_figure(), tmp_path / "a" / "v1.2")
    second = save_figure(small_figure(), tmp_path / "b" / "v1.2")
    assert [path.name for path in first] == ["v1.2.pdf", "v1.2.svg", "v1.2.png"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert b"CreationDate" not in first[0].read_bytes()
    assert "<dc:date>" not in first[1].read_text()
    assert b"/Type3" not in first[0].read_bytes()
    assert b"/FontFile2" in first[0].read_bytes()


def test_saving_one_figure_again_gives_the_same_bytes(tmp_path):
    figure = small_figure()
    first = [path.read_bytes() for path in save_figure(figure, tmp_path / "x")]
    assert first == [path.read_bytes() for path in save_figure(figure, tmp_path / "x")]
    assert to_svg(figure).encode() == first[1]
    assert to_png(figure, dpi=300) == first[2]


def test_the_users_settings_neither_change_nor_matter():
    plain = to_svg(small_figure())
    with matplotlib.rc_context({"font.size": 22, "axes.grid": True, "svg.hashsalt": "other"}):
        before = dict(matplotlib.rcParams)
        place(None, rows=1, columns=1, height=1)
        other = to_svg(small_figure())
        assert dict(matplotlib.rcParams) == before
    assert plain != other, "small_figure itself is not drawn under our settings"


def test_an_unknown_format_and_an_axes_without_a_grid_are_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"as pdf, svg, png, not as bmp"):
        save_figure(small_figure(), tmp_path / "x", formats=("png", "bmp"))
    with pytest.raises(SettingsError, match="add_subplot"):
        place(new_figure(1).add_axes((0, 0, 1, 1)), rows=2, columns=1, height=1)

"""A page's table as LaTeX with booktabs, which pdfLaTeX sets whatever letters it holds."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vptft.report.sections.parts import Table

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta",
    "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi",
    "Ω": "Omega",
}  # fmt: skip
MATHS = {
    "<": "<", ">": ">", "|": "|", "−": "-", "±": r"\pm", "×": r"\times", "·": r"\cdot", "≤": r"\leq", "≥": r"\geq",
    "≈": r"\approx", "≠": r"\neq", "∞": r"\infty", "‖": r"\|", "°": r"^\circ", "²": "^2", "³": "^3", "√": r"\surd",
    "←": r"\leftarrow", "→": r"\rightarrow", "↑": r"\uparrow", "↓": r"\downarrow", "↔": r"\leftrightarrow",
    "⇒": r"\Rightarrow", "✓": r"\surd", "µ": r"\mu",
} | {letter: f"\\{name}" for letter, name in GREEK.items()}  # fmt: skip
SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "`": r"\textasciigrave{}", '"': "''", "…": r"\dots{}",
    "\u2011": "-", "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "•": r"\textbullet{}", "§": r"\S{}",
    "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}",
    "ł": r"\l{}", "Ł": r"\L{}",
} | {letter: f"${command}$" for letter, command in MATHS.items()}  # fmt: skip
"""How letters are written that LaTeX takes for something else or does not know."""
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u ", "\u0307": ".",
    "\u0308": '"', "\u030a": "r ", "\u030b": "H ", "\u030c": "v ", "\u0327": "c ", "\u0328": "k ",
}  # fmt: skip
LONG = 30
"""Letters above which a column of text is set in paragraphs."""
PIECE = 12
"""Letters that stand together at most; a longer word may be broken."""
TEXT = 397.0
"""Points of the narrowest text that a table is set in whole: 5.5 inches."""
TALL = 560.0
"""Points that the rows of a table take at most, so that a page holds it with its caption."""
LETTER = 0.55
"""Width of a letter in parts of its size, a little above the mean of Computer Modern and Times."""
SIZES = {r"\footnotesize": 8.0, r"\scriptsize": 7.0}
"""For tables that are too wide at 10 points, in turn."""
LOOSE_END, BOXED_END = r"\\", r"\tabularnewline"
"""Of a row; ragged cells give the first one another meaning."""


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How a table is set: commands before it, the format of each column, points that each row takes.

    ``boxes`` are the columns that share the line, with ``None`` where one stands as it is.
    """

    before: str
    formats: list[str]
    boxes: list[str | None]
    heights: list[float]


def booktabs(table: Table, *, label: str) -> str:
    """Give the table as a ``table`` environment; it needs the package booktabs, and holds nothing but ASCII.

    Text is escaped; columns of numbers stand to the right. A table that is wider than 5.5 inches of text has smaller
    letters and columns that share the line, long words broken; one that is higher than a page goes on in another
    environment with the same number. A letter that LaTeX has no command for is written as its code.

    Parameters
    ----------
    table
        Columns, cells and caption as the page shows them.
    label
        To refer to it.
    """
    layout = _layout(table)
    boxes, numbers = layout.boxes, [i in table.numbers for i in range(len(table.columns))]
    heads = [_cell(*each) for each in zip(table.columns, boxes, numbers, strict=True)]
    for i in table.numbers:
        if boxes[i]:
            heads[i] = f"\\multicolumn{{1}}{{{boxes[i]}}}{{{heads[i]}}}"
    head = _line(heads, layout)
    rows = [_line([_cell(*each) for each in zip(row, boxes, numbers, strict=True)], layout) for row in table.rows]
    lines = []
    for first, last in _pages(layout.heights):
        caption = [f"\\caption{{{escaped(table.caption)}}}", f"\\label{{{label}}}"]
        if first > 0:
            caption = [r"\addtocounter{table}{-1}\caption{(continued)}"]
        lines += [
            r"\begin{table}", r"\centering", *caption, *filter(None, [layout.before]),
            f"\\begin{{tabular}}{{{''.join(layout.formats)}}}", r"\toprule", head, r"\midrule",
            *rows[first:last], r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]  # fmt: skip
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """Write text so that LaTeX prints its letters; long words may be broken, lines are joined."""
    return " ".join(_word(word) for word in unicodedata.normalize("NFC", text).split())


def _word(word: str) -> str:
    pieces = [word] if len(word) <= PIECE else re.findall(rf".{{1,{PIECE}}}?(?:[/_,.=-](?!$)|$)|.{{1,{PIECE}}}", word)
    return r"\allowbreak{}".join("".join(map(_apart, piece, f"{piece[1:]} ")) for piece in pieces)


def _apart(letter: str, following: str) -> str:
    """One letter, and what keeps it from becoming another sign with the next: two hyphens a dash, two ' a quote."""
    return _letter(letter) + ("{}" if letter == following and letter in "-'" else "")


def _letter(letter: str) -> str:
    if letter in SIGNS:
        return SIGNS[letter]
    if letter.isascii():
        return letter if letter.isprintable() else ""
    parts = unicodedata.normalize("NFKD", letter)
    base, marks = parts[0], parts[1:]
    if base.isascii() and base.isprintable() and all(mark in ACCENTS for mark in marks):
        base = SIGNS.get(base, base)
        for mark in marks:
            base = f"\\{ACCENTS[mark]}{{{base}}}"
        return base
    if unicodedata.category(letter) in ("Cc", "Cf", "Mn"):
        return ""  # what has no look of its own
    return f"\\texttt{{U+{ord(letter):04X}}}\\allowbreak{{}}"


def _cell(text: str, box: str | None, number: bool) -> str:
    side = "" if not box or not text else r"\raggedleft " if number else r"\raggedright "
    return side + escaped(text)


def _line(cells: Sequence[str], layout: _Layout) -> str:
    line = " & ".join(cells)
    if line.startswith(("[", "*")):
        line = f"{{}}{line}"  # else the row before took it for an option
    return f"{line} {LOOSE_END if not layout.before else BOXED_END}"


def _pages(heights: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Give the rows of each page, from and to; at least one row a page."""
    first, taken = 0, 0.0
    for i, height in enumerate(heights):
        if i > first and taken + height > TALL:
            yield first, i
            first, taken = i, 0.0
        taken += height
    yield first, len(heights)


def _layout(table: Table) -> _Layout:
    """Set a table loosely where that fits the text, else in the largest letters that do."""
    n = range(len(table.columns))
    longest = [max((len(row[i]) for row in table.rows), default=0) for i in n]
    long = [i for i in n if longest[i] > LONG and i not in table.numbers]
    share = 0.6 / max(len(long), 1)
    loose = [share * TEXT if i in long else 10 * LETTER * max(longest[i], len(table.columns[i])) for i in n]
    if sum(loose) + 12 * len(n) <= TEXT:
        box = f"p{{{share:.2f}\\linewidth}}"
        formats = ["r" if i in table.numbers else box if i in long else "l" for i in n]
        return _Layout(before="", formats=formats, boxes=[None] * len(n), heights=_heights(table, loose, 10))
    for size, points in SIZES.items():
        least, widths = _shared(table, longest, points)
        before, heights = f"{size}\\setlength{{\\tabcolsep}}{{3pt}}\\sloppy", _heights(table, widths, points)
        if sum(least) + 6 * len(n) <= TEXT:
            break
    scale = min(1.0, (TEXT - 6 * len(n)) / sum(widths))
    boxes = [f"p{{{scale * width / TEXT:.3f}\\linewidth}}" for width in widths]
    return _Layout(before=before, formats=boxes, boxes=list(boxes), heights=heights)


def _shared(table: Table, longest: Sequence[int], points: float) -> tuple[list[float], list[float]]:
    """Points each column needs at least, and gets: of the rest of the line no column gets more than it can use."""
    letter = LETTER * points
    least, most = [], []
    for i, name in enumerate(table.columns):
        words = (word for text in (name, *(row[i] for row in table.rows)) for word in text.split())
        least.append(letter * (1 + max((min(len(word), PIECE) for word in words), default=1)))
        most.append(max(letter * (1 + longest[i]), least[-1]))
    widths, room = list(least), TEXT - 6 * len(least) - sum(least)
    # Numbers first: an interval in one line is easier to read than a text in fewer.
    for columns in ([i for i in range(len(least)) if i in table.numbers], range(len(least))):
        wanting = sorted((i for i in columns if widths[i] < most[i]), key=lambda i: most[i] - widths[i])
        for left, i in zip(range(len(wanting), 0, -1), wanting, strict=True):
            more = max(0.0, min(most[i] - widths[i], room / left))
            widths[i], room = widths[i] + more, room - more
    return least, widths


def _heights(table: Table, widths: Sequence[float], points: float) -> list[float]:
    """Points that each row takes: the lines of its tallest cell."""
    letters = [max(int(width / (LETTER * points)), 1) for width in widths]
    return [1.2 * points * max([1, *(-(-len(cell) // letters[i]) for i, cell in enumerate(row))]) for row in table.rows]

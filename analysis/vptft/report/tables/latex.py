"""A page's table as LaTeX with booktabs."""

import pandas as pd

from vptft.report.sections.parts import Table

SIGNS = {
    "−": "$-$", "±": r"$\pm$", "ρ": r"$\rho$", "…": r"\dots{}", "é": r"\'e", "≤": r"$\leq$", "≥": r"$\geq$", "<": "$<$",
}  # fmt: skip
"""Characters that these tables use and not every LaTeX prints."""
LONG = 30
"""Letters above which a column of text is set in paragraphs."""


def booktabs(table: Table, *, label: str) -> str:
    """Give the table as a ``table`` environment; it needs the package booktabs.

    Text is escaped; columns of numbers stand to the right. Other characters outside ASCII are left as they are.

    Parameters
    ----------
    table
        Columns, cells and caption as the page shows them.
    label
        To refer to it.
    """
    frame = pd.DataFrame(table.rows, columns=pd.Index(table.columns))
    styler = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    text: str = styler.to_latex(
        hrules=True, caption=_escaped(table.caption), label=label, position_float="centering",
        column_format=_columns(table),
    )  # fmt: skip
    for sign, known in SIGNS.items():
        text = text.replace(sign, known)
    return text


def _columns(table: Table) -> str:
    """Set numbers to the right, short text to the left, and long text in paragraphs that share the line."""
    longest = [max((len(row[i]) for row in table.rows), default=0) for i in range(len(table.columns))]
    long = [i for i, length in enumerate(longest) if length > LONG and i not in table.numbers]
    width = f"p{{{0.6 / max(len(long), 1):.2f}\\linewidth}}"
    return "".join("r" if i in table.numbers else width if i in long else "l" for i in range(len(table.columns)))


def _escaped(text: str) -> str:
    """Escape a caption as pandas escapes cells."""
    return "".join({"%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_", "$": r"\$"}.get(letter, letter) for letter in text)

"""Settings that a program printed: read back as plain values, without evaluating anything.

Time is linear in the text and nesting is bounded, whatever the text: :func:`ast.literal_eval` is used on single words
and strings only, because Python's own parser can be made to recurse without end.
"""

import ast
import functools
import re
import warnings
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 40
MAX_LENGTH = 1 << 20
SHORT = 64
"""Words up to that length are remembered: the settings of many jobs are nearly the same."""

_TOKEN = re.compile(
    r"""\s*+(?:(?P<open>CfgNode\(|[{\[(])|(?P<close>[}\])])|(?P<mark>[:,])"""
    r"""|(?P<string>'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")|(?P<word>[-+\w.]{1,64}))""",
    re.DOTALL,
)
_CLOSES = {"CfgNode(": ")", "{": "}", "[": "]", "(": ")"}
_NUMBERS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def read_literal(text: str) -> Any:
    """Return the value of printed dicts, lists, tuples, strings, numbers, None and booleans; ``CfgNode({})`` is a dict.

    Raises
    ------
    ValueError
        For anything else.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"{len(text)} characters are more than settings have")
    tokens = _Tokens(text)
    with warnings.catch_warnings(action="ignore"):  # Python's on escapes that it does not know
        value = _value(tokens, 0)
    if tokens.kind != "end":
        raise ValueError(f"unexpected {tokens.word[:20]!r}")
    return value


class _Tokens:
    """The words of a text, one at a time."""

    def __init__(self, text: str) -> None:
        self._rest = self._split(text)
        self.kind, self.word = next(self._rest)

    def pop(self) -> str:
        """Return the word and go to the next."""
        word = self.word
        if self.kind == "end":
            raise ValueError("the text ends too early")
        self.kind, self.word = next(self._rest)
        return word

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str]]:
        place, end = 0, len(text.rstrip())
        while place < end:
            match = _TOKEN.match(text, place, end)
            if match is None or match.lastgroup is None:
                raise ValueError(f"unexpected {text[place : place + 20]!r}")
            yield match.lastgroup, match[match.lastgroup]
            place = match.end()
        yield "end", ""


def _value(tokens: _Tokens, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if tokens.kind == "string":
        parts = []
        while tokens.kind == "string":  # pprint breaks a long string into several that follow each other
            parts.append(_leaf(tokens.pop()))
        return "".join(parts)
    if tokens.kind == "word":
        return _leaf(tokens.pop())
    if tokens.kind != "open":
        raise ValueError(f"unexpected {tokens.word[:20] or 'end'!r}")
    opened = tokens.pop()
    items, separated = _items(tokens, _CLOSES[opened], pairs=opened == "{", depth=depth + 1)
    if opened == "CfgNode(":
        if len(items) > 1 or not all(isinstance(item, dict) for item in items):
            raise ValueError("a CfgNode holds one dict")
        return items[0] if items else {}
    if opened == "{":
        return dict(items)
    if opened == "(" and len(items) == 1 and not separated:
        return items[0]
    return items if opened == "[" else tuple(items)


def _items(tokens: _Tokens, close: str, *, pairs: bool, depth: int) -> tuple[list[Any], bool]:
    """What stands before the closing bracket, and whether a comma does."""
    items: list[Any] = []
    separated = False
    while not (tokens.kind == "close" and tokens.word == close):
        item = _value(tokens, depth)
        if pairs:
            if not isinstance(item, str | int | float | None) or tokens.pop() != ":":
                raise ValueError("a dict needs plain keys, each with a value")
            item = item, _value(tokens, depth)
        items.append(item)
        if tokens.kind == "mark" and tokens.word == ",":
            tokens.pop()
            separated = True
        elif not (tokens.kind == "close" and tokens.word == close):
            raise ValueError(f"unexpected {tokens.word[:20] or 'end'!r}")
    tokens.pop()
    return items, separated


def _leaf(word: str) -> Any:
    return _cached(word) if len(word) <= SHORT else _parsed(word)


def _parsed(word: str) -> Any:
    if word in _NUMBERS:
        return _NUMBERS[word]
    try:
        value = ast.literal_eval(word)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"{word[:20]!r} is no value") from error
    if not isinstance(value, str | int | float | None):  # also refuses complex numbers, which 3+4j would be
        raise ValueError(f"{word[:20]!r} is no value")
    # Half of a surrogate pair could be neither printed nor saved.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


_cached = functools.lru_cache(maxsize=4096)(_parsed)

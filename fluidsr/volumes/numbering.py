"""The number of a frame in the name of its file, and which of the numbers in the names of several files counts the
frames, decided once, from all names together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import floor
from pathlib import Path

from fluidsr.errors import InputError

# The last number of a name. A minus sign belongs to it only after a separator: `s.-0001`, but not `s-0001`.
_LAST_NUMBER = re.compile(r"((?:(?<=[._ ])|^)-\d+|\d+)(?=\D*$)")
_VERSION = re.compile(r"[._-]?v\d+$", re.IGNORECASE)
_SIZE = re.compile(r"(?<!\d)\d+(?:x\d+)+(?!\d)", re.IGNORECASE)  # cells along each axis: 64x64x64
# A time instead of a number: `out_4.1667e-02`.
_TIME = re.compile(r"\d+(\.\d*[eE][+-]?|[eE][+-])\d+$")
# A number with a fraction at the end of a name: `s.1001.25`, `out_t0.5`, `out_0.5s`.
_DECIMAL = re.compile(r"((?:(?<=[._ ])|^)-\d+|(?<!\d)\d+)\.(\d{1,9})(?P<tail>s|sec|)$")
# The text before a number that is a time: `t0.5`, `time_0.5`, `t=0.5`.
_BEFORE_TIME = re.compile(r"(?:^|[^a-z])t(?:ime)?[=_-]?$", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_FEW = 3  # the order of fewer names proves nothing


def frame_number(path: str | os.PathLike[str]) -> int | None:
    """The last number in a file's name (without its suffix), or None: `smoke.v2_0012.vdb` is 12.

    A version at the end does not count if another number stands before it: `shot_f012v2.vdb` is 12, too. A time
    (`out_4.2e-02`) and a number of cells (`64x64x64`) do not count either.
    """
    stem = Path(path).stem
    span = _number_span(stem)
    return None if span is None else int(stem[slice(*span)])


def _number_span(stem: str) -> tuple[int, int] | None:
    """Start and end (exclusive) of the number that `frame_number` uses, in a name without its suffix; None without
    one.
    """
    if _TIME.search(stem):
        return None
    stem = _SIZE.sub(lambda size: "x" * len(size[0]), stem)
    match = _LAST_NUMBER.search(stem)
    version = _VERSION.search(stem)
    before = _LAST_NUMBER.search(stem[: version.start()]) if version else None
    match = before or match
    return match.span(1) if match else None


@dataclass(frozen=True)
class Numbered:
    """A file and the number of its frame.

    `subframe` (0 to below 1) is the fraction beyond that number. A file whose name holds a time has `time` (s)
    instead of a number. `kind` is the name with the number replaced by `#`, one for each digit.
    """

    file: Path
    number: int | None
    subframe: float = 0.0
    time: float | None = None
    kind: str = ""


def numbered(files: Sequence[Path]) -> list[Numbered]:
    """`files` with the numbers in their names, in the given order; if the names hold times, sorted by time.

    If a name has several numbers, the one that differs between the files counts. The last two numbers are read as one
    decimal if all names together show it (`1001`, `1001.25`; `0.95`, `1.00`, `1.05`), and as a time if a word says
    so.
    """
    times = _times([file.stem for file in files])
    if times is not None:
        entries = [
            Numbered(file, None, time=float(file.stem[slice(*span)]), kind=_kind(file, span, "#"))
            for file, span in zip(files, times, strict=True)
        ]
        return sorted(entries, key=lambda entry: entry.time or 0.0)
    stems = [file.stem for file in files]
    heads, spans = _heads_of_decimals(stems), _spans_that_differ(stems)
    return [_numbered(file, heads, spans) for file in files]


def check_order(files: Iterable[Numbered]) -> None:
    """Raise InputError if the names differ in several numbers, and the chosen one gives another order than all of them
    together: `s_00-59`, `s_01-00`, `s_01-01`.
    """
    kinds: dict[str, list[Numbered]] = {}
    for entry in files:
        if entry.number is not None and not entry.subframe:
            kinds.setdefault(_NUMBER.sub("#", entry.file.stem), []).append(entry)
    for same in kinds.values():
        rows = {entry.file: [int(number) for number in _NUMBER.findall(entry.file.stem)] for entry in same}
        differ = [column for column in zip(*rows.values(), strict=True) if len(set(column)) > 1]
        if len(same) < _FEW or len(differ) < 2 or len({entry.number for entry in same}) < len(same):
            continue
        ordered = sorted(same, key=lambda entry: entry.number or 0)
        for a, b in pairwise(ordered):
            if rows[a.file] > rows[b.file]:
                problem = (
                    f"as frame {b.number} it comes after {a.file.name}: which number counts is not clear"
                )
                raise InputError(str(b.file), problem, "give a pattern with the frame's number as ####")


def rise_together(stems: Sequence[str]) -> bool:
    """Whether the names, in order of their frames, differ in numbers only, and every number rises from name to name.

    Every number must be redundant, as a frame's number beside its time or date is.
    """
    if len(stems) < _FEW or len({_NUMBER.sub("#", stem) for stem in stems}) > 1:
        return False
    rows = [[float(number) for number in re.findall(r"\d+(?:\.\d+)?", stem)] for stem in stems]
    distinct = (
        len({(*row[:column], *row[column + 1 :]) for row in rows}) == len(rows)
        for column in range(len(rows[0]))
    )
    return all(a < b for a, b in pairwise(rows)) and all(distinct)


def _numbered(file: Path, heads: Collection[str], spans: Mapping[str, tuple[int, int]]) -> Numbered:
    stem, decimal = file.stem, _DECIMAL.search(file.stem)
    if decimal and stem[: decimal.start()] in heads:
        whole = decimal.span(1)
        value = Fraction(f"{decimal[1]}.{decimal[2]}")
        return Numbered(
            file,
            floor(value),
            float(value - floor(value)),
            kind=_kind(file, (whole[0], decimal.end(2)), decimal[1]),
        )
    span = spans.get(stem) or _number_span(stem)
    if span is None:
        return Numbered(file, None, kind=file.stem + file.suffix.lower())
    return Numbered(file, int(stem[slice(*span)]), kind=_kind(file, span, stem[slice(*span)]))


def _kind(file: Path, span: tuple[int, int], number: str) -> str:
    """The file's name with the characters at `span` replaced by `#`, one for each digit of `number`."""
    digits = "#" * len(number.lstrip("-"))
    return file.stem[: span[0]] + digits + file.stem[span[1] :] + file.suffix.lower()


def _times(stems: Sequence[str]) -> list[tuple[int, int]] | None:
    """Positions of the times in the names, if every name has one instead of a number; None otherwise."""
    if len(stems) < 2:
        return None
    exponents = [_TIME.search(stem) for stem in stems]
    if all(exponents):
        return [match.span() for match in exponents if match]
    times, heads, fractions = [], set(), False
    for stem in stems:
        match = _DECIMAL.search(stem) or re.search(r"((?:(?<=[._ ])|^)-\d+|\d+)(?P<tail>s|sec|)$", stem)
        if match is None or not (match["tail"] or _BEFORE_TIME.search(stem[: match.start()])):
            return None
        fractions |= match.re is _DECIMAL
        heads.add((stem[: match.start()], match["tail"]))
        times.append((match.start(), match.end() - len(match["tail"])))
    return times if fractions and len(heads) == 1 else None


def _spans_that_differ(stems: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The position of the frame number in those names whose last number does not count.

    That is the case if the last number is equal in all names of a kind (`plume_01_res64`, `plume_02_res64`), or if
    another number increases by one (`plume_01_t0.04`, `plume_02_t0.08`).
    """
    kinds: dict[str, list[str]] = {}
    for stem in dict.fromkeys(stems):
        kinds.setdefault(_NUMBER.sub("#", stem), []).append(stem)
    spans: dict[str, tuple[int, int]] = {}
    for same in kinds.values():
        rows = [list(_NUMBER.finditer(stem)) for stem in same]
        columns = [[int(match[0]) for match in column] for column in zip(*rows, strict=True)]
        differ = [index for index, column in enumerate(columns) if len(set(column)) == len(same) > 1]
        if differ and len(set(columns[-1])) > 1:  # the last number differs, too
            another = len(same) >= _FEW and not _counts(columns[-1])
            differ = [index for index in differ if another and _counts(columns[index])]
        if differ:
            spans |= {stem: row[differ[-1]].span() for stem, row in zip(same, rows, strict=True)}
    return spans


def _counts(numbers: Sequence[int]) -> bool:
    """Whether the numbers are consecutive, without gap or repetition."""
    return sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers)))


def _heads_of_decimals(stems: Sequence[str]) -> set[str]:
    """The text before the number in those names whose last two numbers form one: `s.` of s.1001 and s.1001.25.

    `s.2.012` and `s.2.013` alone are frames 12 and 13 of something with a 2 in its name.
    """
    decimals: dict[str, set[tuple[str, str]]] = {}
    whole = set()
    for stem in stems:
        match, last = _DECIMAL.search(stem), _LAST_NUMBER.search(stem)
        if match:
            decimals.setdefault(stem[: match.start()], set()).add((match[1], match[2]))
        if last and last.end() == len(stem):
            whole.add(stem[: last.start()])
    return {head for head, pairs in decimals.items() if head in whole or _are_decimals(pairs)}


def _are_decimals(pairs: set[tuple[str, str]]) -> bool:
    """Whether the digits before and after the dots show that the pairs are decimals."""
    fractions = {fraction for _, fraction in pairs}
    widths = {len(fraction) for fraction in fractions}
    if any(fraction[0] == "0" and len(fraction) > min(widths) for fraction in fractions):
        return True  # 0.05, 0.1: a counter never has leading zeros in its longer numbers only
    many = len({number for number, _ in pairs}) > 1 and len(fractions) > 1
    short = all(fraction == "0" or fraction[-1] != "0" for fraction in fractions)
    return (many and short and (len(widths) > 1 or widths == {1})) or _are_even(pairs)


def _are_even(pairs: set[tuple[str, str]]) -> bool:
    """Whether the pairs are evenly spaced as decimals, less than 1 apart, but not as pairs of numbers: 1.000, 1.250,
    1.500, 1.750, 2.000; 0.1, 0.15, 0.2, 0.25.
    """
    if len(pairs) < _FEW:
        return False
    widths = {len(fraction) for _, fraction in pairs}
    unit = Fraction(1, 10 ** max(widths))
    values = sorted(Fraction(f"{number}.{fraction}") for number, fraction in pairs)
    steps = [b - a for a, b in pairwise(values)]
    rounded = unit if len(widths) == 1 else 0  # a third may be .333 or .334
    even = max(steps) - min(steps) <= rounded and 0 < max(steps) < 1
    if len({number for number, _ in pairs}) > 1:
        return even and len(widths) == 1
    counted = sorted(int(fraction) for _, fraction in pairs)
    return even and len({b - a for a, b in pairwise(counted)}) > 1

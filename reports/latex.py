"""Writes a result table as LaTeX with booktabs; a paper may redefine the marks of best and second."""

from __future__ import annotations

from headbench.harness.names import one_line
from headbench.reports.below import tables_below
from headbench.reports.grid import Entry, headings, lines
from headbench.reports.table import Table

__all__ = ["escape", "to_latex"]

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "–": "--",
    "²": r"\textsuperscript{2}",
    "†": r"\textsuperscript{$\dagger$}",
    "‡": r"\textsuperscript{$\ddagger$}",
    "−": "$-$",
    # At the start of a row TeX would take it for the star of the line end before.
    "*": "{*}",
    # Active in some languages of babel.
    '"': "{''}",
}

_PREAMBLE = r"""% Needs \usepackage{booktabs}. Define \benchbest and \benchsecond before this file to mark otherwise,
% and \newcommand{\benchbelow}[1]{} to leave out the tables below, such as the differences to the best.
\providecommand{\benchbest}[1]{\textbf{#1}}
\providecommand{\benchsecond}[1]{\underline{#1}}
\providecommand{\benchnote}[1]{\textsuperscript{#1}}
\providecommand{\benchpublished}[1]{\textit{#1}}
\providecommand{\benchbelow}[1]{\par\medskip{\footnotesize #1\par}}
"""


def to_latex(table: Table) -> str:
    """Table as a LaTeX tabular for ``\\input`` in a float; footnotes and smaller tables stand below."""
    leading, _ = headings(table)
    values = [column.latex or escape(column.heading()) for column in table.columns]
    width = len(leading) + len(values)
    about = f"{table.run}, {table.protocol}, protocol SHA-256 {table.protocol_hash or 'none'}{table.remark()}"
    out = [f"% {one_line(about)}", _PREAMBLE.rstrip()]
    places = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    out.append(rf"\begin{{tabular}}{{{'l' * len(leading)}{places}}}")
    out += [r"\toprule", _bar([*map(escape, leading), *values]), r"\midrule"]
    notes = list(table.notes)
    for line in lines(table, notes):
        if line.opens:
            out.append(r"\midrule")
        cells = [_cell(entry) for entry in line.leading]
        if line.outcome:
            cells.append(rf"\multicolumn{{{len(values)}}}{{l}}{{\emph{{{escape(line.outcome)}}}}}")
        else:
            values_ = [_cell(entry) for entry in line.values]
            cells += [rf"\benchpublished{{{cell}}}" for cell in values_] if line.row.differs else values_
        out.append(_bar(cells))
    out += [r"\bottomrule", rf"\multicolumn{{{width}}}{{l}}{{\footnotesize {escape(table.title())}}}", r"\end{tabular}"]
    if notes:
        marked = (rf"\benchnote{{{number}}}~{escape(note)}" for number, note in enumerate(notes, 1))
        out += [r"\par\smallskip", r"{\footnotesize", r"\\ ".join(marked), r"\par}"]
    out += _below(table)
    return "\n".join(out) + "\n"


def _below(table: Table) -> list[str]:
    """Lines of the smaller tables, such as that of the differences to the best."""
    out = []
    for found in tables_below(table):
        sides = "l" * found.leading + "r" * (len(found.headings) - found.leading)
        out += [rf"\benchbelow{{{escape(found.caption)}\\[\smallskipamount]", rf"\begin{{tabular}}{{{sides}}}"]
        out += [r"\toprule", _bar([*map(escape, found.headings)]), r"\midrule"]
        out += [_bar([*map(escape, line)]) for line in found.lines]
        out += [r"\bottomrule", r"\end{tabular}}"]
    return out


def escape(text: str) -> str:
    """Escape plain text so that LaTeX prints it literally, on one line."""
    return "".join(_ESCAPES.get(character, character) for character in one_line(text))


def _cell(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.rank:
        text = rf"\bench{'best' if entry.rank == 1 else 'second'}{{{text}}}"
    return text + (rf"\benchnote{{{','.join(map(str, entry.notes))}}}" if entry.notes else "")


def _bar(cells: list[str]) -> str:
    return rf"{' & '.join(cells)} \\"

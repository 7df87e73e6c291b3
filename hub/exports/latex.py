"""The text of an Overleaf project: one document with every figure, its caption, and where it came from."""

from __future__ import annotations

from collections.abc import Sequence

from hub.exports.rules import Included, Material, caption, escaped

_PREAMBLE = r"""% Made by Collegium. Compile with pdfLaTeX, XeLaTeX or LuaLaTeX.
\documentclass[11pt,a4paper]{article}
\usepackage{iftex}
\ifPDFTeX
  \usepackage[T1]{fontenc}
  \usepackage[utf8]{inputenc}
  \usepackage{textcomp}
  \newcommand{\anychar}[1]{{\scriptsize[U+#1]}}
\else
  \usepackage{fontspec}
  \newcommand{\anychar}[1]{\char"#1\relax}
\fi
\usepackage[margin=25mm]{geometry}
\usepackage{graphicx}
\usepackage[hidelinks]{hyperref}
\setlength{\emergencystretch}{3em}
"""

_AND = r" \and "


def document(
    title: str, authors: Sequence[str], included: Sequence[Included], origin: str, *, with_provenance: bool
) -> str:
    """`main.tex`: figures in the order given, then the provenance of every file if it is wanted."""
    parts = [
        _PREAMBLE,
        rf"\title{{{escaped(title)}}}",
        rf"\author{{{_AND.join(escaped(name) for name in authors)}}}",
        "\\begin{document}\n\\maketitle\n",
    ]
    figures = [each for each in included if each.is_figure]
    if not figures:
        parts.append("There are no figures in this project.\n")
    parts += [_figure(each, place) for place, each in enumerate(figures, 1)]
    if with_provenance:
        parts.append(_provenance(included, origin))
    parts.append("\\end{document}\n")
    return "\n".join(parts)


def _figure(each: Included, place: int) -> str:
    digest = (each.material.digest or "")[:12]
    return rf"""\begin{{figure}}[htbp]
  \centering
  \includegraphics[width=0.85\linewidth,height=0.4\textheight,keepaspectratio]{{{each.name}}}
  \caption{{{escaped(caption(each.material))} {{\footnotesize\texttt{{{digest}}}}}}}
  \label{{fig:{place}}}
\end{{figure}}
"""


def _provenance(included: Sequence[Included], origin: str) -> str:
    items = "\n".join(_item(each, origin) for each in included)
    return (
        rf"""\clearpage
\appendix
\section{{Provenance}}
Every file by the SHA-256 of its content; the same, for programs, is in \texttt{{provenance.json}}.
\begin{{description}}
{items}
\end{{description}}
"""
        if included
        else "\\section{Provenance}\nThis project holds no files.\n"
    )


def _item(each: Included, origin: str) -> str:
    material = each.material
    lines = [f"version {material.number} of {material.at[:10]}, by {escaped(material.author)}", *_facts(material)]
    lines.append(f"page: \\url{{{origin}/artifacts/{material.version}}}")
    lines.append(f"here: \\texttt{{{escaped(each.name)}}}" if each.name else f"not included: {escaped(each.why_not)}")
    told = " \\\\\n  ".join(lines)
    return f"\\item[{{\\texttt{{{escaped(material.path)}}}}}] \\mbox{{}}\\\\\n  {told}"


def _facts(material: Material) -> list[str]:
    facts = []
    if material.digest is not None:
        # In two halves, because one line cannot hold 64 digits.
        halves = material.digest[:32], material.digest[32:]
        facts.append(rf"SHA-256 \texttt{{{halves[0]}}} \\ \hspace*{{4.2em}}\texttt{{{halves[1]}}}")
    if material.job is not None:
        facts.append(f"job: {escaped(material.job)}")
    if material.tools_used:
        facts.append(f"tools: {escaped(', '.join(material.tools_used))}")
    if material.commit is not None:
        facts.append(rf"commit: \texttt{{{escaped(material.commit)}}}")
    if material.made_from:
        facts.append(f"made from: {escaped(', '.join(material.made_from))}")
    return facts

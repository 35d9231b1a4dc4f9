"""Problems as tokens, so that two copies of one agree however they were typeset."""

import re
import unicodedata

_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"

_REWRITES = tuple(
    (re.compile(pattern, re.DOTALL), replacement)
    for pattern, replacement in (
        (r"\[asy\].*?\[/asy\]", " "),  # figures, as the Art of Problem Solving writes them
        (r"!\[[^\]]*\]\([^)]*\)", " "),  # and as Markdown does
        (r"\\begin\{[a-z]*\*?\}|\\end\{[a-z]*\*?\}", " "),
        (r"\{,\}", ","),
        (r"\\\\|\\[,;:!> ()\[\]]|[~$&`]", " "),
        (r"\\(?:q?quad|displaystyle|limits|nolimits)(?![a-z])", " "),
        (r"\\(?:left|right|middle|[bB]igg?[lr]?)(?![a-z])", " "),
        (r"\\[dtc]frac(?![a-z])", r"\\frac"),
        (r"\\frac\s*(\d)(\d)", r"\\frac \1 \2 "),
        (r"\\(?:text(?:bf|it|rm|tt|sf)?|math(?:rm|bf|it|sf)|operatorname|mbox|emph|hbox)\*?(?![a-z])", " "),
        (r"\\leq(?:slant)?(?![a-z])|≤", r" \\le "),
        (r"\\geq(?:slant)?(?![a-z])|≥", r" \\ge "),
        (r"\\neq(?![a-z])|≠", r" \\ne "),
        (r"\\[lc]?dots[cbmio]?(?![a-z])|…", " ... "),
        (r"\\cdot(?![a-z])|[×·]", r" \\times "),
        (r"\\lvert(?![a-z])|\\rvert(?![a-z])|\\mid(?![a-z])", " | "),
        (r"\^\s*(?:\{\s*)?(?:\\circ(?![a-z])|°)\s*\}?|°", r" \\degree "),
        (r"[\u2010-\u2015\u2212]", "-"),
        (r"(?<=\d),(?=\d{3}(?!\d))", ""),
    )
)

_TOKEN = re.compile(
    rf"\\[a-z]+|\d+(?:\.\d+)?|[{_CJK}]|(?:(?![{_CJK}])[^\W\d_])+|\.\.\.|[+\-*/^_=<>()|!%\[\]]",
)


def tokens_of(text: str) -> list[str]:
    r"""Words, numbers, LaTeX commands and operators of a text.

    What typesetting alone decides is gone: case, Unicode variants (NFKC), white space, math delimiters, spacing
    commands, `\left` and `\right`, sizes of fractions, fonts and `\text`, braces, thousands separators, figures and
    sentence punctuation. An ideograph is a token of its own.
    """
    text = unicodedata.normalize("NFKC", text.replace("…", "...")).lower()
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return _TOKEN.findall(text)


def canonical_text(text: str) -> str:
    """The tokens in one line: equal for two copies of one problem."""
    return " ".join(tokens_of(text))

"""The actor's tagged answer to the construction prompt."""

import re
from dataclasses import dataclass, field

from tapo.core.funnel import ConstructionError


@dataclass(frozen=True)
class Construction:
    """The two parts of the actor's tagged answer."""

    analysis: str
    reconstruction: str
    thought: bool = False
    """Whether a closed block of thinking stood in front."""
    closed: bool = True
    """Whether the reconstruction's closing tag was there."""
    newline: bool = field(default=False, compare=False)
    """Whether a newline stood before that, which belongs to the tag."""


_OPEN_ANALYSIS = re.compile(r"<analysis>", re.IGNORECASE)
# What may stand between the blocks: white space, rules, fences, emphasis, and one heading of the second block.
_JOINT = re.compile(
    r"""</analysis>
    (?:\s|[*_`~-]|xml\b)*
    (?:(?:\#{1,6}\ *)?reconstruct(?:ion|ed[^\n<]{0,40}):?(?:\s|[*_`~:-]|xml\b)*)?
    (?<![*_`])(?P<mark>[*_`]*)<reconstruction>""",
    re.IGNORECASE | re.VERBOSE,
)
OPEN_TAG, CLOSE_TAG = "<reconstruction>", "</reconstruction>"
_QUOTE = re.compile(r"<quote>(.*?)</quote>", re.IGNORECASE | re.DOTALL)
_CLOSE = re.compile(r"</reconstruction>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:analysis|reconstruction)>", re.IGNORECASE)
# What ends an answer in a code fence: without a tag in front of it, it would pass for the solution's own.
_FENCE_END = re.compile(r"(?:```|~~~)\s*$")
_THOUGHT_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)


def parse_construction(text: str, *, ended: bool = False) -> Construction:
    """Read `<analysis>...</analysis>` followed by `<reconstruction>...</reconstruction>` (TAPO, section 3.3).

    Text around the two blocks is ignored, thinking in front of them too, whatever tags it quotes, and so are tags
    quoted in the analysis. Tags may be in bold or in code, the blocks in a code fence. One newline after the opening
    reconstruction tag and one before the closing one belong to the tags.

    Args:
        ended: whether the actor ended its turn by itself. The last tag may then be missing: constructed rows teach to
            end the turn behind a solution, and after some steps of training on them a policy does so here too.

    Raises:
        ConstructionError: "bad_format" if a tag is missing, repeated or out of order, or the reconstruction is blank.
    """
    text, thought = _behind_thought(text)
    joints = list(_JOINT.finditer(text))
    if len(joints) != 1:
        detail = "the tags are missing or out of order" if not joints else "the blocks are repeated"
        raise ConstructionError("bad_format", detail)
    joint = joints[0]
    opened = _OPEN_ANALYSIS.search(text, 0, joint.start())
    closed = _CLOSE.search(text, joint.end())
    if opened is None or not (closed or (ended and not _FENCE_END.search(text))):
        raise ConstructionError("bad_format", f"{'<analysis>' if opened is None else '</reconstruction>'} is missing")
    body = text[joint.end() : closed.start() if closed else len(text)]
    if _TAG.search(body) or (closed and _TAG.search(text, closed.end())):
        raise ConstructionError("bad_format", "each tag must appear once behind the analysis")
    if mark := joint["mark"]:
        body = body.removeprefix(mark).removesuffix(mark)
    reconstruction = body.removeprefix("\n").removesuffix("\n")
    if not reconstruction.strip():
        raise ConstructionError("bad_format", "the reconstruction is blank")
    analysis, newline = text[opened.end() : joint.start()].strip(), body.endswith("\n")
    return Construction(analysis, reconstruction, thought, closed is not None, newline)


def parse_opening(text: str) -> tuple[str, str]:
    """Read an answer up to the opening tag of its reconstruction, which is still to be filled.

    Returns:
        The text up to and including that tag, and the passage that the analysis quotes as the error: what stands
        between `<quote>` and `</quote>`, else the analysis' last line.

    Raises:
        ConstructionError: "bad_format" if a tag is missing, or more than one passage is quoted.
    """
    behind, _ = _behind_thought(text)
    skipped = len(text) - len(behind)
    joint = _JOINT.search(behind)
    opened = _OPEN_ANALYSIS.search(behind, 0, joint.start()) if joint else None
    if joint is None or opened is None:
        raise ConstructionError("bad_format", "the tags are missing or out of order")
    return text[: skipped + joint.end()], quoted(behind[opened.end() : joint.start()])


def quoted(analysis: str) -> str:
    """The passage that an analysis quotes as the error.

    Raises:
        ConstructionError: "bad_format" if it quotes several.
    """
    found = {quote.strip() for quote in _QUOTE.findall(analysis)}
    if len(found) > 1:
        raise ConstructionError("bad_format", f"{len(found)} passages are quoted")
    if found:
        return found.pop()
    return (analysis.strip().splitlines() or [""])[-1].strip()


def visible_answer(text: str) -> str:
    """The answer without the thinking in front of it."""
    return _behind_thought(text)[0]


def _behind_thought(text: str) -> tuple[str, bool]:
    """The text behind the last end of thinking that an answer follows, and whether there is one.

    A rollout that thinks holds such an end itself, and so does its copy inside the reconstruction: an answer must
    still begin behind it.
    """
    for end in reversed(list(_THOUGHT_END.finditer(text))):
        if _JOINT.search(text, end.end()):
            return text[end.end() :], True
    return text, False

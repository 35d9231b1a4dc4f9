"""Why a construction is dropped after the actor has answered."""

REASONS = (
    "bad_format",  # tags missing, repeated, out of order or empty
    "not_verbatim",  # an edit before the splice point: the text goes on tracking the wrong rollout after it
    "prefix_too_short",  # fewer kept tokens or a smaller kept share than asked for: the answer started over
    "splice_at_end",  # the whole wrong rollout is kept, and nothing follows: no error was found
    "nothing_new",  # the answer stops inside the wrong rollout: neither reflection nor correction
    "no_reflection",  # goes on without a notice of the error, where `require_reflection` asks for one
    "leak",  # speaks of the solution it was shown
    "tokenizer_roundtrip",  # decoding the kept ids or the result does not give the text back
    "too_long",  # longer than a response may be
)
"""Reasons that parsing and splicing give."""


class ConstructionError(ValueError):
    """A construction that must be dropped; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, detail: str = ""):
        assert reason in REASONS, reason
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason

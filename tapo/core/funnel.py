"""How far constructions get, and why they are dropped."""

FUNNEL = ("attempted", "parsed", "spliced", "correct", "trained")
"""Stages of a construction. One that failed may be trained as a negative without being correct."""

TRAINED = "trained"
"""The outcome of a construction that is not dropped; every other outcome is one of `REASONS`."""

REASONS = (
    "bad_format",  # tags missing, repeated, out of order or empty
    "no_anchor",  # the passage that the answer quotes as the error is not in the attempt
    "ambiguous_anchor",  # it stands there in several places
    "not_verbatim",  # an edit before the splice point: the text goes on tracking the wrong rollout after it
    "prefix_too_short",  # fewer kept tokens or a smaller kept share than asked for: the answer started over
    "splice_at_end",  # the whole wrong rollout is kept, and nothing follows: no error was found
    "nothing_new",  # the answer stops inside the wrong rollout: neither reflection nor correction
    "no_reflection",  # goes on without a notice of the error, where `require_reflection` asks for one
    "leak",  # speaks of the solution it was shown
    "tokenizer_roundtrip",  # decoding the kept ids or the result does not give the text back
    "too_long",  # longer than a response may be
    "unsupported_query",  # not one text-only user turn
    "empty_response",  # the wrong rollout or its sibling is blank
    "does_not_fit",  # prompt and answer exceed the engine's context
    "no_reward",  # the reward is no finite number, which would make its whole group's advantages none
    "timeout",
    "deadline",  # not done so long after the last rollout
    "error",  # the engine, the reward or our own code raised
    "wrong_answer",  # spliced, but not correct, where failed constructions are not trained
    "check",  # the run's check objects to the text, where `check_action` drops such
)
"""Reasons of rejection, each a metric `tapo/construct/rejected/<reason>`."""


class ConstructionError(ValueError):
    """A construction that must be dropped; `reason` is one of `REASONS`."""

    def __init__(self, reason: str, detail: str = ""):
        assert reason in REASONS, reason
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason

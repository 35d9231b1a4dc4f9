"""What a check may say of a constructed text: a label of the user's own, or one of these."""

NO_OBJECTION = ""
"""There is nothing to object to the text."""
ERROR = "error"
"""The check raised, took too long, or returned no label. It is no objection."""
NAMED_NO_OBJECTION = "no_objection"
"""How `NO_OBJECTION` is called where an empty text would not be seen."""
OBJECTED = "objected"
"""Any objection, whatever its label."""
FAITHFUL_SHARE = "faithful_share"
"""The share of correct constructions without an objection, of those that could be judged."""
RESERVED = (OBJECTED, FAITHFUL_SHARE, NAMED_NO_OBJECTION)
"""Names that stand beside the labels, in metrics and filters, which no label may have."""


def objects(said: str | None) -> bool:
    """Whether a check's word means that something is wrong with the text; None: it was not asked."""
    return said not in (None, NO_OBJECTION, ERROR)


def named(said: str) -> str:
    """A check's word as it is shown."""
    return said or NAMED_NO_OBJECTION

"""How the rows of G_ref are told from the rollouts of G_orig: by the name of their group and by tags."""

REF_SUFFIX = "_ref"

REF_TAG = "tapo_ref"
"""Tag of every constructed row: the key of the rollout it grew from, and its prefix's and its recognised reflection's
lengths in tokens."""
REPORT_TAG = "tapo_report"
"""Tag of one rollout of each group: what became of the group's constructions."""


def ref_group(uid: str) -> str:
    """The group id of the trajectories constructed for query `uid`; it begins with `uid` and an underscore."""
    return uid + REF_SUFFIX


def query_group(uid: str) -> str:
    """The query that a group is of, whichever of the two it is: the inverse of `ref_group`."""
    return uid.removesuffix(REF_SUFFIX)


def is_ref_group(uid: str) -> bool:
    """Whether `uid` names a group of constructed trajectories."""
    return uid.endswith(REF_SUFFIX)

"""Notes beside a cold-started model which form of construction its chats taught, for runs to be held to.

python -m tapo.cold_start.taught_form CHATS/train.parquet MODEL
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq

from tapo.cold_start.chats import FORM_KEY
from tapo.files.atomic import write_text_atomically
from tapo.files.model_folder import FORM_FILE


def note_form(chats: Path, model: Path) -> None:
    """Write `FORM_FILE` into the model's folder; nothing where the chats do not say."""
    known = pq.read_schema(chats).metadata or {}
    if FORM_KEY in known:
        write_text_atomically(model / FORM_FILE, known[FORM_KEY].decode() + "\n")


if __name__ == "__main__":
    note_form(Path(sys.argv[1]), Path(sys.argv[2]))

"""JSON lines for whoever wants to see what was constructed and trained."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class JsonLines:
    """Appends one JSON object a line to a file of this process alone, so that processes never share one."""

    def __init__(self, folder: str | None, kind: str):
        self.path: Path | None = None
        if folder is not None:
            self.path = Path(folder).expanduser() / f"{kind}-{socket.gethostname()}-{os.getpid()}.jsonl"
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append `record`; nothing happens without a folder."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_json_lines(folder: str | Path, kind: str) -> Iterator[dict[str, Any]]:
    """The records of one kind in a dump folder, whatever process wrote them."""
    for path in sorted(Path(folder).expanduser().glob(f"{kind}-*.jsonl")):
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)

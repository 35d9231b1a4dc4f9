"""Stores of rollouts: writers that are killed, parts that are damaged."""

import io
import os
import random
import signal
import subprocess
import sys
import time

from rich.console import Console

from tapo.data.rollout_store import RolloutStore
from tapo.files.part_store import DamagedPart
from tests.stand_ins.rows import row

WRITES = """
import sys
from tapo.data.rollout_store import RolloutStore
from tests.stand_ins.rows import row
store = RolloutStore.open_for_append(sys.argv[1], {"model": "m"})
print("open", flush=True)
number = len(store.done())
while True:
    store.append([row(number), row(number + 1)])
    number += 2
    print(number, flush=True)
"""


def test_kills_of_a_writer(tally, tmp_path):
    """Kills (SIGKILL) of a store's writer at any moment."""
    draw, said = random.Random(0), 0
    for _ in range(55):
        with tally.input():
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITES, tmp_path], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
            )
            assert writer.stdout.readline() == "open\n"
            time.sleep(draw.random() * 0.3)
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().split()
            writer.wait()
        said = max([said, *map(int, lines)])
        rows = list(RolloutStore.open(tmp_path))
        # A part whose number was not said yet may be there; one that was said must.
        if len(rows) < said or rows != [row(number) for number in range(len(rows))]:
            tally.wrong.append((said, len(rows)))
    RolloutStore.open_for_append(tmp_path, {"model": "m"})
    tally.leaks += [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
    assert said > 50


def test_damage(tally, tmp_path):
    """Damaged parts: bytes flipped, cut, doubled or zeroed."""
    store = RolloutStore.open_for_append(tmp_path, {"model": "m"})
    whole = [row(number) for number in range(4)]
    store.append(whole)
    path, draw = tmp_path / "part-00000.parquet", random.Random(1)
    content, found = path.read_bytes(), 0
    for _ in range(2000):
        damaged = bytearray(content)
        at = draw.randrange(len(damaged))
        match draw.randrange(4):
            case 0:
                damaged[at] ^= 1 << draw.randrange(8)
            case 1:
                del damaged[at:]
            case 2:
                damaged[at:at] = damaged[at : at + draw.randrange(1, 64)]
            case 3:
                damaged[at : at + draw.randrange(1, 64)] = bytes(draw.randrange(1, 64))
        path.write_bytes(damaged)
        with tally.input():
            try:
                rows = list(RolloutStore.open(tmp_path))
            except DamagedPart:
                found += 1
                continue
        if rows != whole:
            tally.wrong.append((at, len(rows)))
    assert found > 1000
    path.write_bytes(content[:-9])
    assert [moved.name for moved in store.repair(Console(file=io.StringIO()))] == ["part-00000.parquet.damaged"]

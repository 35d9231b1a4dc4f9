import errno
import io
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tapo.data.rollout_store import QueryRollouts, RolloutStore
from tapo.files import atomic
from tapo.files import part_store as store_module
from tapo.files.part_store import DamagedPart, StoreBusy, StoreMismatch

FACTS = {"model": "sha256:1", "sampling": {"temperature": 1.0, "n": 2}}


def rollouts(index, **changes):
    values = {
        "index": index,
        "data_source": "test",
        "prompt": [{"role": "user", "content": f"question {index} π"}],
        "ground_truth": "7",
        "responses": [r"first \boxed{7}", ""],
        "response_ids": [[5, 6, 7], []],
        "finish_reasons": ["stop", "length"],
        "scores": [1.0, 0.0],
    }
    return QueryRollouts(**(values | changes))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def test_a_store_returns_what_was_appended_in_the_order_of_writing(tmp_path):
    rows = [rollouts("a"), rollouts("b", scores=[0.0, 0.5]), rollouts("c", response_ids=[np.array([1, 2]), (3,)])]
    store = RolloutStore.open_for_append(tmp_path / "s", FACTS)
    store.append(rows[:2])
    store.append(rows[2:])
    store.append([])
    again = RolloutStore.open(tmp_path / "s")
    assert list(again) == [*rows[:2], rollouts("c", response_ids=[[1, 2], [3]])]
    assert again.fingerprint == FACTS
    assert again.done() == {"a", "b", "c"}
    assert sorted(path.name for path in (tmp_path / "s").glob("part-*")) == ["part-00000.parquet", "part-00001.parquet"]


def test_columns_are_read_alone(tmp_path):
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append([rollouts("a"), rollouts("b")])
    assert list(store.iter_columns(["index", "scores"])) == [
        {"index": "a", "scores": [1.0, 0.0]},
        {"index": "b", "scores": [1.0, 0.0]},
    ]
    assert [row["response_ids"] for row in store.iter_columns(["response_ids"])] == [[[5, 6, 7], []]] * 2
    with pytest.raises(ValueError, match=r"column = 'reward' cannot work: known are index, .*scores"):
        list(store.iter_columns(["reward"]))


def test_row_groups_bound_what_a_reader_holds(tmp_path, monkeypatch):
    rows = [rollouts(str(number), responses=["x" * 60, ""]) for number in range(5)]
    monkeypatch.setattr(store_module, "ROW_GROUP_BYTES", RolloutStore.to_table(rows).nbytes // 2)
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append(rows)
    metadata = pq.read_metadata(tmp_path / "part-00000.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [2, 2, 1]
    assert list(store) == rows


def test_another_fingerprint_is_refused_with_each_differing_key(tmp_path):
    RolloutStore.open_for_append(tmp_path, FACTS).append([rollouts("a")])
    changed = {"model": "sha256:2", "sampling": {"temperature": 0.6, "n": 2}, "seed": 1}
    with pytest.raises(StoreMismatch) as error:
        RolloutStore.open_for_append(tmp_path, changed)
    message = str(error.value)
    assert "model = 'sha256:1' then, 'sha256:2' now" in message
    assert "sampling.temperature = 1.0 then, 0.6 now" in message and "seed = nothing then, 1 now" in message
    assert "sampling.n" not in message and "another folder" in message
    assert RolloutStore.open_for_append(tmp_path, FACTS).done() == {"a"}


def test_a_query_is_stored_once(tmp_path):
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append([rollouts("a")])
    for rows in ([rollouts("b"), rollouts("a")], [rollouts("b"), rollouts("b")]):
        with pytest.raises(ValueError, match=r"index = '[ab]' is in .* already"):
            store.append(rows)
    assert store.done() == {"a"} and len(list(tmp_path.glob("part-*"))) == 1


HOLDS = """
import sys, time
from tapo.data.rollout_store import RolloutStore
store = RolloutStore.open_for_append(sys.argv[1], {})
print("open", flush=True)
time.sleep(600)
"""


def test_a_store_without_rows_is_not_bound_to_the_options_that_it_was_made_with(tmp_path):
    RolloutStore.open_for_append(tmp_path, FACTS | {"n": 3})
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append([rollouts("a")])
    assert RolloutStore.open(tmp_path).fingerprint == FACTS
    with pytest.raises(StoreMismatch, match="n = nothing then, 3 now"):
        RolloutStore.open_for_append(tmp_path, FACTS | {"n": 3})


def test_a_lock_that_is_a_link_is_not_followed_and_one_that_holds_something_keeps_it(tmp_path):
    target, lock = tmp_path / "target", tmp_path / "store" / ".lock"
    target.write_text("precious")
    lock.parent.mkdir()
    lock.symlink_to(target)
    with pytest.raises(ValueError, match=r"\.lock is a link, which is not followed"):
        RolloutStore.open_for_append(lock.parent, FACTS)
    assert target.read_text() == "precious"
    lock.unlink()
    lock.write_text("a note")
    RolloutStore.open_for_append(lock.parent, FACTS).append([rollouts("a")])
    assert lock.read_text() == "a note"


def test_one_process_writes_a_store_at_a_time_and_others_read_it(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        for write in (lambda: RolloutStore.open_for_append(tmp_path, {}), RolloutStore.open(tmp_path).repair):
            with pytest.raises(StoreBusy, match="is being written by another process: needs one at a time"):
                write()
        assert RolloutStore.open(tmp_path).done() == set()
        other.kill()
    RolloutStore.open_for_append(tmp_path, {}).append([rollouts("a")])
    assert RolloutStore.open(tmp_path).done() == {"a"}


def test_leftovers_of_a_killed_writer_are_removed_and_never_counted(tmp_path):
    RolloutStore.open_for_append(tmp_path, FACTS).append([rollouts("a")])
    leftover = tmp_path / ".part-00001.parquet.123.tmp"
    leftover.write_bytes(b"PAR1 half a part")
    assert RolloutStore.open(tmp_path).done() == {"a"} and leftover.exists()
    assert RolloutStore.open_for_append(tmp_path, FACTS).done() == {"a"} and not leftover.exists()


def test_a_full_disk_leaves_earlier_parts_and_no_temporary_file(tmp_path, monkeypatch):
    class FullDisk(pq.ParquetWriter):
        def write_table(self, *args, **kwargs):
            super().write_table(*args, **kwargs)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append([rollouts("a")])
    with monkeypatch.context() as patch:
        patch.setattr(store_module.pq, "ParquetWriter", FullDisk)
        with pytest.raises(OSError, match="No space left"):
            store.append([rollouts("b")])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".lock", "manifest.json", "part-00000.parquet"]
    store.append([rollouts("b")])
    assert store.done() == {"a", "b"}


def test_a_part_gets_its_name_only_when_it_is_on_the_disk(tmp_path, monkeypatch):
    order = []
    replace, sync = os.replace, os.fsync
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    monkeypatch.setattr(atomic.os, "fsync", lambda descriptor: (order.append("sync"), sync(descriptor)))
    monkeypatch.setattr(atomic.os, "replace", lambda *paths: (order.append("replace"), replace(*paths)))
    store.append([rollouts("a")])
    assert order == ["sync", "replace", "sync"]


def test_a_truncated_part_is_named_and_repair_moves_it_aside(tmp_path):
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    for name in "abc":
        store.append([rollouts(name)])
    truncate(tmp_path / "part-00001.parquet")
    fresh = RolloutStore.open_for_append(tmp_path, FACTS)
    for read in (fresh.done, lambda: list(fresh)):
        with pytest.raises(DamagedPart, match=r"part-00001\.parquet is damaged .* queries in it are made again"):
            read()
    out = io.StringIO()
    assert fresh.repair(Console(file=out, width=500)) == [tmp_path / "part-00001.parquet.damaged"]
    assert "warning: " in out.getvalue() and "part-00001.parquet is damaged" in out.getvalue()
    assert fresh.done() == {"a", "c"} and store.done() == {"a", "c"}
    fresh.append([rollouts("b")])
    assert (tmp_path / "part-00003.parquet").exists() and [row.index for row in fresh] == ["a", "c", "b"]
    assert fresh.repair() == []


def test_a_name_in_the_footer_that_is_no_text_is_a_damaged_part(tmp_path):
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append([rollouts("a")])
    path, whole = tmp_path / "part-00000.parquet", (tmp_path / "part-00000.parquet").read_bytes()
    footer = whole.index(b"ground_truth", len(whole) // 4)
    path.write_bytes(whole[:footer] + whole[footer:].replace(b"ground_truth", b"\xff\xfeound_truth"))
    with pytest.raises(DamagedPart, match="part-00000"):
        list(RolloutStore.open(tmp_path))
    assert [moved.name for moved in store.repair(Console(file=io.StringIO()))] == ["part-00000.parquet.damaged"]


def test_a_flipped_byte_in_the_data_is_found(tmp_path):
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append([rollouts("a", responses=["".join(map(str, range(1000))), ""])])
    path = tmp_path / "part-00000.parquet"
    column = pq.read_metadata(path).row_group(0).column(4)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedPart, match="part-00000"):
        list(store)


def test_a_parquet_file_of_something_else_is_no_part(tmp_path):
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    store.append([rollouts("a")])
    path = tmp_path / "part-00000.parquet"
    pq.write_table(pq.read_table(path, columns=["index"]), path)
    with pytest.raises(DamagedPart, match="its columns are index"):
        RolloutStore.open(tmp_path).done()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"scores": [1.0]}, r"query a: lengths .*'scores': 1.* cannot work"),
        ({"scores": [1.0, float("nan")]}, "query a: score nan cannot work: needs a finite number"),
        ({"finish_reasons": ["stop", "abort"]}, "query a: finish reason 'abort' cannot work: allowed are stop, length"),
        ({"index": ""}, "index = '' cannot work: needs a non-empty text"),
        (dict.fromkeys(("responses", "response_ids", "finish_reasons", "scores"), ()), "1 or more"),
    ],
)
def test_rollouts_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        rollouts(changes.pop("index", "a"), **changes)


def test_a_folder_that_is_no_store_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no store of rollouts: it holds no manifest\.json"):
        RolloutStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        RolloutStore.open_for_append(tmp_path, FACTS)
    (tmp_path / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="format = 2 cannot work: needs 1"):
        RolloutStore.open(tmp_path)
    with pytest.raises(ValueError, match="fingerprint"):
        RolloutStore.open_for_append(tmp_path / "new", {"reward": compile})


def test_the_content_fingerprint_changes_with_every_part(tmp_path):
    store = RolloutStore.open_for_append(tmp_path, FACTS)
    before = store.content_fingerprint()
    store.append([rollouts("a")])
    assert store.content_fingerprint() != before
    assert store.content_fingerprint() == RolloutStore.open(tmp_path).content_fingerprint()

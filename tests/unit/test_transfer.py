import asyncio
import inspect
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from tapo import transfer
from tests.stand_ins.sources import PACKAGE, imports_of


def test_one_module_alone_imports_transfer_queue():
    found = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "transfer_queue" in imports_of(path)]
    assert found == [Path("transfer.py")]


@pytest.fixture
def calls(monkeypatch):
    """What TransferQueue was asked; each call must fit the installed signature."""
    seen = []

    def note(name):
        signature = inspect.signature(getattr(transfer.tq, name))

        def call(*args, **kwargs):
            signature.bind(*args, **kwargs)
            seen.append((name, kwargs))
            return "answer"

        async def call_async(*args, **kwargs):
            return call(*args, **kwargs)

        monkeypatch.setattr(transfer.tq, name, call_async if name.startswith("async_") else call)

    for name in ("kv_batch_get", "kv_batch_put", "kv_clear", "async_kv_put", "async_kv_clear"):
        note(name)
    return seen


def test_fields_are_read_and_written_by_key(calls):
    fields = TensorDict({"x": torch.zeros(2)}, batch_size=[2])
    assert transfer.read_fields(("a", "b"), "val", ("x",)) == "answer"
    transfer.write_fields(("a", "b"), "train", fields)
    (_, read), (_, written) = calls
    assert read == {"keys": ["a", "b"], "partition_id": "val", "select_fields": ["x"]}
    assert written["fields"] is fields and written["keys"] == ["a", "b"] and written["partition_id"] == "train"


def test_rows_are_tagged_and_deleted_in_verls_training_partition(calls):
    asyncio.run(transfer.tag_row("a", {"k": 1}))
    asyncio.run(transfer.delete_row("a"))
    assert calls == [
        ("async_kv_put", {"key": "a", "partition_id": "train", "tag": {"k": 1}}),
        ("async_kv_clear", {"keys": ["a"], "partition_id": "train"}),
    ]


def test_rows_are_made_and_deleted_in_a_partition_of_ones_own(calls):
    fields = TensorDict({"x": torch.zeros(2)}, batch_size=[2])
    transfer.put_rows(("a", "b"), "mine", fields, ({"k": 1}, {"k": 2}))
    transfer.delete_rows(("a", "b"), "mine")
    assert calls == [
        ("kv_batch_put", {"keys": ["a", "b"], "partition_id": "mine", "fields": fields, "tags": [{"k": 1}, {"k": 2}]}),
        ("kv_clear", {"keys": ["a", "b"], "partition_id": "mine"}),
    ]

import json
import struct

import pytest

from tapo.files.model_folder import half_written, is_complete_model, missing_of_model
from tests.stand_ins.weights import NO_TENSORS

HEADER = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(16)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_folder_without_a_config_is_no_model_of_which_a_half_was_written(tmp_path):
    assert missing_of_model(tmp_path) == ["config.json"]
    assert half_written(str(tmp_path)) is None and half_written("Qwen/Qwen3-8B") is None


def test_a_config_without_weights_is_half_a_model(folder):
    assert not is_complete_model(folder)
    told = half_written(str(folder))
    assert told.startswith("a half-written model lies there: it lacks weights (model.safetensors, pytorch_model.bin")


@pytest.mark.parametrize("kept", [0, 4, 8, 8 + len(HEADER) - 1, 8 + len(HEADER), len(WEIGHTS) - 1])
def test_a_weight_file_that_ends_early_is_told_wherever_it_ends(folder, kept):
    (folder / "model.safetensors").write_bytes(WEIGHTS[:kept])
    assert missing_of_model(folder) == ["model.safetensors (only a part of it is there)"]


def test_a_whole_weight_file_is_complete_and_of_other_formats_only_their_presence_is_known(folder):
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    assert is_complete_model(folder) and half_written(str(folder)) is None
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert is_complete_model(folder)


def test_an_index_wants_all_its_shards_whole(folder):
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "1.safetensors").write_bytes(WEIGHTS[:-1])
    assert missing_of_model(folder) == ["1.safetensors (only a part of it is there)", "2.safetensors"]
    for name in ("1.safetensors", "2.safetensors"):
        (folder / name).write_bytes(NO_TENSORS)
    assert is_complete_model(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a"')
    assert missing_of_model(folder) == ["model.safetensors.index.json (only a part of it is there)"]

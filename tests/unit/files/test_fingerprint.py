"""What something was made from."""

import pytest

from tapo.files.fingerprint import MIB, fingerprint_of_file, fingerprint_of_model


def write_model(folder, weights=b"w", **texts):
    folder.mkdir()
    for name, text in {"config": "{}", "tokenizer": "{}", "generation_config": "{}"}.items():
        (folder / f"{name}.json").write_text(texts.get(name, text))
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "README.md").write_text(str(folder))
    return fingerprint_of_model(folder)


def test_a_models_fingerprint_covers_configuration_tokenizer_and_weights(tmp_path):
    weights = bytearray(20 * MIB)
    same = write_model(tmp_path / "a", weights)
    assert write_model(tmp_path / "b", weights) == same and same.startswith("sha256:")
    weights[-1] = 1
    others = [
        write_model(tmp_path / "c", weights),
        write_model(tmp_path / "d", bytes(20 * MIB + 1)),
        write_model(tmp_path / "e", bytes(20 * MIB), config='{"a": 1}'),
        write_model(tmp_path / "f", bytes(20 * MIB), tokenizer='{"a": 1}'),
        write_model(tmp_path / "g", bytes(20 * MIB), generation_config='{"a": 1}'),
    ]
    assert len({same, *others}) == 6


def test_a_model_on_the_hub_is_its_name_and_a_wrong_path_is_refused(tmp_path):
    assert fingerprint_of_model("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(
            ValueError, match=r"model = '.*' cannot work: needs a folder with a config\.json or a hub name"
        ):
            fingerprint_of_model(wrong)


def test_a_files_fingerprint_is_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert fingerprint_of_file(tmp_path / "a") == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )

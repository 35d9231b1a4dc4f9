import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tapo.data.options import Band, FilterOptions
from tapo.data.pass_rate import PassRate, histogram_table, report_of_rates, run_filter
from tapo.data.queries import QueryFiles
from tapo.data.rollout_store import RolloutStore
from tapo.options import ConfigError
from tests.stand_ins.queries import rollouts


def sample(folder, correct, n=8):
    """A store in which query `s/NUMBER` has so many correct responses."""
    store = RolloutStore.open_for_append(folder, {})
    store.append([rollouts(f"s/{i}", [1.0] * c + [0.0] * (n - c)) for i, c in enumerate(correct)])
    return store


def write_data(path, count):
    rows = [
        {
            "data_source": "s",
            "prompt": [{"role": "user", "content": "q"}],
            "reward_model": {"ground_truth": "1"},
            "extra_info": {"index": number},
        }
        for number in range(count)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def run(tmp_path, **options):
    terminal = Console(file=io.StringIO(), width=120)
    out = tmp_path / "rl.parquet"
    run_filter(FilterOptions(rollouts=tmp_path / "r", data=(tmp_path / "data.parquet",), out=out, **options), terminal)
    return [query.index for query in QueryFiles(out)], terminal.file.getvalue()


def test_both_ends_of_the_band_are_kept(tmp_path):
    sample(tmp_path / "r", range(9))
    write_data(tmp_path / "data.parquet", 9)
    kept, text = run(tmp_path)
    assert kept == [f"s/{number}" for number in range(1, 8)]
    assert pq.read_schema(tmp_path / "rl.parquet") == pq.read_schema(tmp_path / "data.parquet")
    for line in (
        "kept                      │ 7",
        "too hard         │ 1",
        "too easy         │ 1",
        "without rollouts │ 0",
    ):
        assert line in text
    assert "0/8" in text and "8/8" in text
    report = json.loads((tmp_path / "rl.parquet.pass_rates.json").read_text())
    assert report["histogram"][1] == {"correct": 1, "samples": 8, "queries": 1, "kept": True}
    assert [report[key] for key in ("queries", "kept", "too_hard", "too_easy", "missing")] == [9, 7, 1, 1, 0]


@pytest.mark.parametrize(
    "low, correct, samples", [(0.1, 1, 10), (0.3, 3, 10), (0.7, 7, 10), (0.07, 7, 100), (0.29, 29, 100)]
)
def test_a_band_compares_counts_and_not_rounded_numbers(low, correct, samples):
    assert PassRate(correct, samples).fate(Band(low=low, high=low)) == "kept"
    assert PassRate(correct - 1, samples).fate(Band(low=low, high=1.0)) == "too_hard"
    assert PassRate(correct + 1, samples).fate(Band(low=0.0, high=low)) == "too_easy"


def test_a_response_is_correct_when_its_score_exceeds_the_threshold(tmp_path):
    store = RolloutStore.open_for_append(tmp_path / "r", {})
    store.append([rollouts("s/0", [0.5, 0.5]), rollouts("s/1", [0.51, 0.2])])
    write_data(tmp_path / "data.parquet", 2)
    assert run(tmp_path)[0] == ["s/1"]
    assert run(tmp_path, low=0, high=1, reward_threshold=0.4)[0] == ["s/0", "s/1"]


def test_queries_without_rollouts_stop_the_filter_unless_allowed(tmp_path):
    sample(tmp_path / "r", [4, 4])
    write_data(tmp_path / "data.parquet", 6)
    with pytest.raises(
        ValueError, match=r"4 queries \(s/2, s/3, s/4, \.\.\.\) of .* have no rollouts .*--allow-missing"
    ):
        run(tmp_path)
    assert not (tmp_path / "rl.parquet").exists()
    kept, text = run(tmp_path, allow_missing=True)
    assert kept == ["s/0", "s/1"] and "without rollouts │ 4" in text


def test_rollouts_of_other_data_stop_the_filter(tmp_path):
    sample(tmp_path / "r", [4, 4, 4])
    write_data(tmp_path / "data.parquet", 2)
    with pytest.raises(ValueError, match=r"1 queries \(s/2\) of .* are not in .*data\.parquet"):
        run(tmp_path, allow_missing=True)


def test_rollouts_scored_against_another_answer_stop_the_filter(tmp_path):
    RolloutStore.open_for_append(tmp_path / "r", {}).append([rollouts("s/0", [1.0, 0.0], truth="2")])
    write_data(tmp_path / "data.parquet", 1)
    with pytest.raises(ValueError, match=r"query s/0: ground truth '1' in .*, '2' in .* sampled again"):
        run(tmp_path)


def test_an_empty_band_says_what_there_is(tmp_path):
    sample(tmp_path / "r", [0, 0, 8])
    write_data(tmp_path / "data.parquet", 3)
    with pytest.raises(
        ValueError, match=r"no query has a pass rate in \[0.125, 0.875\]: 2 are too hard and 1 too easy"
    ):
        run(tmp_path)


def test_an_empty_store_is_named(tmp_path):
    RolloutStore.open_for_append(tmp_path / "r", {})
    write_data(tmp_path / "data.parquet", 1)
    with pytest.raises(ValueError, match="holds no rollouts yet"):
        run(tmp_path)


def test_a_finished_filter_is_run_again_only_for_other_inputs(tmp_path):
    store = sample(tmp_path / "r", [4, 0])
    write_data(tmp_path / "data.parquet", 3)
    first = run(tmp_path, allow_missing=True)
    before = (tmp_path / "rl.parquet").stat().st_mtime_ns
    assert run(tmp_path, allow_missing=True) == first
    assert (tmp_path / "rl.parquet").stat().st_mtime_ns == before
    store.append([rollouts("s/2", [1.0, 0.0])])
    kept, text = run(tmp_path, allow_missing=True)
    assert kept == ["s/0", "s/2"] and "is made again: rollouts = 'sha256:" in text


def test_many_or_different_numbers_of_samples_are_shown_in_tenths():
    rates = [PassRate(8, 8), PassRate(1, 16), PassRate(99, 100)]
    report = report_of_rates(rates, Band())
    terminal = Console(file=io.StringIO(), width=120)
    terminal.print(histogram_table(report))
    text = terminal.file.getvalue()
    assert "0.0 to 0.1 │ 1       │ 0" in text and "0.9 to 1.0 │ 2       │ 0" in text
    assert (report["too_hard"], report["too_easy"], report["kept"]) == (1, 2, 0)


@pytest.mark.parametrize(
    "band, message",
    [
        ((-0.1, 0.5), r"low = -0\.1 cannot work: needs a share in \[0, 1\]"),
        ((0.5, 0.4), r"high = 0\.4 cannot work: needs a share in \[low, 1\], low being 0\.5"),
        ((0.5, 1.1), r"high = 1\.1 cannot work"),
        ((float("nan"), 1.0), "low = nan cannot work"),
    ],
)
def test_a_band_that_cannot_be_is_refused(band, message):
    with pytest.raises(ConfigError, match=message):
        Band(low=band[0], high=band[1])

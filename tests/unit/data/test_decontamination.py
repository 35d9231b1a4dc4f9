import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tapo.data.decontamination import Decontaminator, run_decontaminate
from tapo.data.options import DecontaminateOptions, OverlapOptions
from tapo.data.text import prompt_of

AIME = (
    r"Let $N$ be the number of ordered triples $(a,b,c)$ of positive integers such that $a\leq b$, "
    r"$abc=2^{10}\cdot 3^5$, and $\dfrac{a+b}{c}$ is an integer. Find the remainder when $N$ is divided by $1000$."
)
RETYPESET = (
    "let \\(N\\) be the number of ordered triples \\(\\left(a,\\, b,\\, c\\right)\\)\n of positive integers such that "
    r"\(a \le b\),~\(abc = 2^{10}\times 3^{5}\), and \(\tfrac{a+b}{c}\) is an integer.  Find the remainder when \(N\) "
    r"is divided by \(1{,}000\)"
)
REWORDED = (
    r"Suppose $N$ denotes the number of ordered triples $(a,b,c)$ of positive integers such that $a \leq b$, "
    r"$abc=2^{10}\cdot 3^5$, and $\frac{a+b}{c}$ is an integer. What is $N \bmod 1000$?"
)
SIMILAR = (
    r"Let $N$ be the number of ordered pairs $(m,n)$ of positive integers such that $m+n\leq 100$ and $m^2+n^2$ is a "
    r"multiple of $7$. Find the remainder when $N$ is divided by $1000$."
)


def index(*questions, **options):
    made = Decontaminator(OverlapOptions(**options))
    for number, question in enumerate(questions):
        made.add(f"e{number}", question)
    return made


def write_queries(path, questions, **extra):
    rows = [
        {
            "data_source": "mine",
            "prompt": prompt_of(question),
            "reward_model": {"style": "rule", "ground_truth": "1"},
            "extra_info": {"index": f"{path.stem}{number}"},
        }
        | extra
        for number, question in enumerate(questions)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def run(train, test, out):
    terminal = Console(file=io.StringIO(), width=200)
    run_decontaminate(DecontaminateOptions(train=train, against=(test,), out=out), terminal)
    return terminal.file.getvalue()


def test_a_problem_in_other_typesetting_is_equal():
    match = index(SIMILAR, AIME).match(RETYPESET)
    assert (match.evaluation_index, match.kind, match.overlap) == ("e1", "equal", 1.0)


def test_a_reworded_problem_is_found_by_its_ngrams():
    match = index(AIME).match(REWORDED)
    assert match.kind == "ngram" and 0.6 < match.overlap < 0.8


def test_a_problem_of_the_same_kind_is_no_match():
    assert index(AIME).match(SIMILAR) is None
    assert index(SIMILAR).match(AIME) is None


def test_the_overlap_is_the_share_of_the_evaluation_problems_ngrams():
    match = index("a b c d e", ngram=2, overlap=0.5).match("x a b c y d e")
    assert match.overlap == 3 / 4
    assert index("a b c d e", ngram=2, overlap=0.76).match("x a b c y d e") is None
    assert index("a b a b a b", ngram=2, overlap=0.5).match("z a b").overlap == 1 / 2


def test_a_short_problem_is_one_ngram():
    match = index("Compute $3^7$").match("In base ten, compute 3^7 and then halve it.")
    assert (match.kind, match.overlap) == ("ngram", 1.0)
    assert index("Compute $3^7$").match("Compute the sum of 3 and 7") is None


def test_the_closest_problem_is_named_and_the_first_of_equals():
    assert index("a b c d", "a b c x", "a b c d", ngram=2, overlap=0.1).match("a b c d e").evaluation_index == "e0"
    assert index("a b c x", "a b c d", ngram=2, overlap=0.1).match("a b c d e").evaluation_index == "e1"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"ngram": 0}, "ngram = 0 cannot work: needs a number of tokens >= 1"),
        ({"overlap": 0.0}, r"overlap = 0\.0 cannot work: needs a share in \(0, 1\]"),
        ({"overlap": 1.5}, r"overlap = 1\.5 cannot work"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        OverlapOptions(**options)
    with pytest.raises(ValueError, match=r"evaluation problem e: question = '\?' cannot work: needs words"):
        Decontaminator().add("e", "?")


def test_matches_are_dropped_listed_and_counted_and_other_columns_kept(tmp_path):
    train = write_queries(tmp_path / "t.parquet", [SIMILAR, RETYPESET, "Compute 1+1.", REWORDED], source="web")
    test = write_queries(tmp_path / "e.parquet", [AIME])
    out = tmp_path / "clean.parquet"
    text = run(train, test, out)
    rows = pq.read_table(out)
    assert [row["index"] for row in rows["extra_info"].to_pylist()] == ["t0", "t2"]
    assert rows.schema == pq.read_schema(train) and rows["source"].to_pylist() == ["web", "web"]
    lines = (tmp_path / "clean.parquet.contaminated.jsonl").read_text().splitlines()
    found = [(row["index"], row["evaluation_index"], row["kind"]) for row in map(json.loads, lines)]
    assert found == [("t1", "e0", "equal"), ("t3", "e0", "ngram")]
    assert "dropped: evaluation problem │ 2" in text


def test_rows_may_be_repeated_on_both_sides(tmp_path):
    path = write_queries(tmp_path / "e.parquet", [AIME, SIMILAR, AIME], extra_info={"index": "same"})
    assert len(Decontaminator(files=[path])) == 2
    train = write_queries(tmp_path / "t.parquet", ["Compute 1+1."] * 3, extra_info={"index": "same"})
    run(train, path, tmp_path / "o.parquet")
    assert pq.read_metadata(tmp_path / "o.parquet").num_rows == 3


def test_training_data_that_is_all_evaluation_problems_is_refused(tmp_path):
    train = write_queries(tmp_path / "t.parquet", [AIME])
    with pytest.raises(ValueError, match=r"none of the 1 rows of .* is left"):
        run(train, train, tmp_path / "o.parquet")
    assert not (tmp_path / "o.parquet").exists()

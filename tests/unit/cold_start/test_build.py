"""From scored rollouts to chats: who is tried, what is kept, and how it is mixed."""

import asyncio
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tapo.cli import app
from tapo.cold_start.answering import EngineActor, FunctionActor
from tapo.cold_start.chats import write_chats
from tapo.cold_start.datasheet import Tally, datasheet
from tapo.cold_start.mixture import KINDS, choose, held_out, messages_of
from tapo.cold_start.options import Limits, Recipe
from tapo.cold_start.store import ADDED, IDS, INELIGIBLE, KEPT, ConstructionStore, QueryConstructions
from tapo.core.asking import Answer, TokenBudget
from tapo.core.attempt import Attempt, Candidate, Response
from tapo.core.form import PAPER_FORM
from tapo.core.funnel import ConstructionError
from tapo.core.prompts import CONSTRUCTION_PROMPT, construction_messages
from tapo.data.rollout_store import RolloutStore
from tapo.files.part_store import StoreMismatch
from tapo.generation.engine import Sample, Sampling
from tapo.inspection.constructions import read_constructions
from tapo.inspection.options import InspectOptions
from tapo.inspection.page import write_page
from tests.stand_ins.cold_start import TEACHER, Script, construct, rollouts
from tests.stand_ins.dumps import construction_record
from tests.stand_ins.texts import ANSWER, QUERY, RECONSTRUCTION, RIGHT, SILENT, WRONG


def outcomes(query):
    return [attempt.outcome for attempt in query.attempts]


def test_the_first_good_attempt_wins_and_the_ones_before_it_are_counted(tokenizer):
    wrong_answer = ANSWER.replace("boxed{45}", "boxed{44}")
    actor = Script("no tags", wrong_answer, ConstructionError("does_not_fit"), ANSWER, "never asked")
    query = construct(tokenizer, actor, rollouts(tokenizer))
    assert query.outcome == KEPT and query.plain == RIGHT
    assert outcomes(query) == ["bad_format", "wrong_answer", "does_not_fit", "trained"]
    assert [attempt.reached[-1] for attempt in query.attempts] == ["attempted", "spliced", "attempted", "trained"]
    kept = query.kept
    assert (kept.trajectory, kept.answer) == (RECONSTRUCTION, ANSWER)
    assert kept.prefix == "Step 1: 28*3=84\nStep 2: 84-39=55\n" and kept.reflection == "Wait, 84-39 is not 55.\n"
    assert messages_of("construction", query, {PAPER_FORM: CONSTRUCTION_PROMPT}, 1) == [
        *construction_messages(QUERY, wrong=WRONG, correct=RIGHT),
        {"role": "assistant", "content": ANSWER},
    ]
    own = tokenizer.encode(WRONG, add_special_tokens=False)
    assert kept.wrong_tokens == len(own) + 1 and 0 < kept.prefix_length < len(own)
    assert len({request.seed for request in actor.requests}) == len(actor.requests) == 4


def test_a_correction_without_a_reflection_is_kept_only_where_that_is_allowed(tokenizer):
    assert construct(tokenizer, Script(SILENT), rollouts(tokenizer), attempts=1).outcome == "no_reflection"
    kept = construct(tokenizer, Script(SILENT), rollouts(tokenizer), require_reflection=False)
    assert kept.outcome == KEPT and "Wait" not in kept.kept.trajectory


def test_an_answer_that_starts_over_is_kept_only_where_that_is_allowed(tokenizer):
    over = ANSWER.replace(RECONSTRUCTION, "Step one leaves 84, less 39 are \\boxed{45}")
    options = {"attempts": 1, "require_reflection": False, "min_prefix_share": 0.2}
    assert construct(tokenizer, Script(over), rollouts(tokenizer), **options).outcome == "prefix_too_short"
    options |= {"min_prefix_share": 0.0}
    assert construct(tokenizer, Script(over), rollouts(tokenizer), **options).outcome == KEPT
    with pytest.raises(ValueError, match=r"min_prefix_share = 2 cannot work: needs a share between 0 and 1"):
        Limits(min_prefix_share=2)


def test_thinking_in_front_of_an_answer_is_not_learned(tokenizer):
    query = construct(tokenizer, Script(f"<think><analysis>?</think>\n\n{ANSWER}"), rollouts(tokenizer))
    assert (query.outcome, query.kept.trajectory) == (KEPT, RECONSTRUCTION)
    assert messages_of("construction", query, {PAPER_FORM: CONSTRUCTION_PROMPT}, 1)[-1]["content"] == ANSWER


def test_attempts_are_bounded_and_a_query_without_a_good_one_keeps_its_plain_response(tokenizer):
    actor = Script("no tags")
    query = construct(tokenizer, actor, rollouts(tokenizer), attempts=3)
    assert (query.outcome, outcomes(query), query.plain) == ("bad_format", ["bad_format"] * 3, RIGHT)
    assert query.kept is None and [attempt.answer for attempt in query.attempts] == ["no tags"] * 3


def test_an_actor_that_would_only_repeat_itself_is_asked_once_for_each_wrong_rollout(tokenizer):
    actor = Script("no tags", repeats=False)
    assert outcomes(construct(tokenizer, actor, rollouts(tokenizer), attempts=9)) == ["bad_format"] * 2


@pytest.mark.parametrize("scores", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_a_mastered_or_hopeless_query_is_not_tried(tokenizer, scores):
    actor = Script(ANSWER)
    record = construct(tokenizer, actor, rollouts(tokenizer, scores=scores))
    assert (record.outcome, record.attempts, actor.requests) == (INELIGIBLE, [], [])
    assert record.plain in (("",) if scores[0] == 0 else (WRONG, RIGHT))


def test_a_correct_response_that_was_cut_off_is_no_plain_example(tokenizer):
    row = rollouts(tokenizer, scores=(0.0, 1.0, 0.0), reasons=("stop", "length", "stop"))
    assert construct(tokenizer, Script(ANSWER), row).plain == ""


def test_responses_that_were_cut_off_are_no_siblings_and_are_tried_last(tokenizer):
    actor = Script("no tags", repeats=False)
    row = rollouts(
        tokenizer, texts=("cut", WRONG, RIGHT, RIGHT), scores=(0, 0, 1, 1), reasons=["length", *["stop"] * 3]
    )
    construct(tokenizer, actor, row)
    assert [request.candidate.wrong.text for request in actor.requests] == [WRONG, "cut"]
    only_cut = rollouts(tokenizer, scores=(0, 1, 0), reasons=["stop", "length", "stop"])
    assert construct(tokenizer, Script(ANSWER), only_cut).outcome == INELIGIBLE


def test_the_models_own_answer_comes_through_the_chat_template(tokenizer):
    class Engine:
        async def sample(self, prompt_ids, sampling, *, n, seed):
            self.asked = (tokenizer.decode(prompt_ids), sampling.max_tokens, n, seed)
            return [Sample(tokenizer.encode(ANSWER, add_special_tokens=False), "stop")]

    engine, messages = Engine(), [{"role": "user", "content": "rewrite"}]
    sibling = Response(1, [1] * 5, "c", 1.0)
    candidate = Candidate(QUERY, Response(0, [1], "w", 0.0), sibling)
    prompt = len(tokenizer.encode("user: rewrite\nassistant: ", add_special_tokens=False))

    def ask(room):
        sampling = Sampling(max_tokens=20)
        budget = TokenBudget(response_length=15, max_model_len=prompt + room, answer=20)
        actor, attempt = EngineActor(engine, tokenizer, sampling, budget, {}), Attempt(candidate)
        return asyncio.run(actor.ask(attempt, messages, 7)), attempt.usage.decoded

    tokens = len(tokenizer.encode(ANSWER, add_special_tokens=False))
    for room, budget in ((1000, 20), (8, 8), (5, 5)):
        assert ask(room) == (Answer(ANSWER, ended=False), tokens)
        assert engine.asked == ("user: rewrite\nassistant: ", budget, 1, 7)
    with pytest.raises(ConstructionError, match="does_not_fit"):
        ask(4)


@pytest.mark.parametrize("spec", ["nowhere.py:answer", "nothing"])
def test_a_teacher_that_is_not_there_is_named(spec):
    with pytest.raises(ValueError, match=f"answers = '{spec}' cannot work: needs FILE.py:NAME"):
        FunctionActor(spec)


def query(index, data_source="s", outcome=KEPT, plain="", attempts=()):
    return QueryConstructions(
        index=index, data_source=data_source, prompt=QUERY, outcome=outcome, plain=plain, attempts=list(attempts)
    )


def records(kept=20, plain_only=30):
    texts = {"wrong": "w", "correct": "c", "prefix": "p", "reflection": "r", "correction": "c"}
    counts = {"prefix_length": 1, "wrong_tokens": 2, "tokens": 3}
    both = [
        query(f"k{i}", plain=f"plain {i}", attempts=[construction_record(answer=f"answer {i}", **texts, **counts)])
        for i in range(kept)
    ]
    failed = construction_record(outcome="bad_format")
    return [*both, *(query(f"p{i}", "t", "bad_format", "x", [failed]) for i in range(plain_only))]


def as_rows(rows):
    return ConstructionStore.from_table(ConstructionStore.to_table(rows))


def test_the_mixture_holds_as_many_of_each_kind_as_asked_for_and_shares_queries_only_where_it_must():
    choice = choose(as_rows(records()), Recipe(sft=20, ift=10, plain_share=0.5))
    assert {kind: len(indices) for kind, indices in choice.items()} == {
        "reflective": 10,
        "plain": 10,
        "construction": 10,
    }
    assert not choice["reflective"] & choice["construction"]
    assert not choice["reflective"] & choice["plain"]
    scarce = choose(as_rows(records(kept=12)), Recipe(sft=20, ift=10, plain_share=0.5))
    assert len(scarce["reflective"] & scarce["construction"]) == 8


def test_the_mixture_depends_on_the_seed_and_not_on_the_order_of_the_records():
    rows, shuffled = records(), records()
    random.Random(1).shuffle(shuffled)
    recipe = Recipe(sft=20, ift=10, seed=4)
    assert choose(as_rows(rows), recipe) == choose(as_rows(shuffled), recipe)
    assert choose(as_rows(rows), recipe) != choose(as_rows(rows), Recipe(sft=20, ift=10, seed=5))


def test_the_chat_of_each_kind_ends_with_what_is_learned():
    [row] = records(kept=1, plain_only=0)
    chats = {kind: messages_of(kind, row, {PAPER_FORM: "{query}/{wrong}/{correct}"}, 1) for kind in KINDS}
    assert [chats[kind][-1]["content"] for kind in KINDS] == ["prc", "plain 0", "answer 0"]
    assert chats["construction"][0] == {"role": "user", "content": f"{QUERY[0]['content']}/w/c"}
    assert chats["plain"][:-1] == chats["reflective"][:-1] == QUERY


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(ValueError, match="nothing to train on"):
        choose(as_rows([query("a", outcome=INELIGIBLE)]), Recipe())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sft": 0, "ift": 0}, "sft = 0, ift = 0 cannot work"),
        ({"plain_share": 1.5}, r"plain_share = 1.5 cannot work: needs a share in \[0, 1\]"),
        ({"val_share": 1}, r"val_share = 1 cannot work: needs a share in \[0, 1\)"),
    ],
)
def test_a_recipe_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**options)


def test_splits_share_no_query_and_the_datasheet_counts_what_was_written(tmp_path):
    store = ConstructionStore.open_for_append(tmp_path / "constructions", {"seed": 1})
    store.append(records())
    recipe = Recipe(sft=60, ift=20, plain_share=0.5, val_share=0.3, seed=2)
    tally = Tally()
    choice, counts = write_chats(store, recipe, tmp_path, {PAPER_FORM: CONSTRUCTION_PROMPT}, seen=tally.add)
    tables = {split: pq.read_table(tmp_path / f"{split}.parquet").to_pylist() for split in ("train", "val")}
    indices = {split: {row["index"] for row in rows} for split, rows in tables.items()}
    assert indices["val"] and not indices["train"] & indices["val"]
    assert all(held_out(index, recipe) for index in indices["val"])
    for split, rows in tables.items():
        assert [row["position"] for row in rows] == sorted(row["position"] for row in rows)
        kinds = [row["kind"] for row in rows]
        assert counts[split] == {kind: kinds.count(kind) for kind in ("reflective", "plain", "construction")}
    sheet = datasheet(tally, choice, recipe, counts, {"model_path": "m", "seed": 1})
    assert sheet["chats"]["total"] == 20 + 30 + 20
    assert sheet["short"] == ["20 reflective examples instead of 30: the data gives no more"]
    assert sheet["queries"] == {"s": {KEPT: 20}, "t": {"bad_format": 30}}
    assert sheet["attempts"] == {KEPT: 20, "bad_format": 30}
    assert sheet["distributions"] == {"trajectory tokens": [3.0] * 5, "kept share of the rollout": [0.5] * 5}


def test_the_command_resumes_skips_what_is_complete_and_refuses_another_prompt(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tapo.cold_start.build.load_tokenizer", lambda model: tokenizer)
    (tmp_path / "teacher.py").write_text(TEACHER.format(answer=ANSWER))
    source = RolloutStore.open_for_append(tmp_path / "rollouts", {"seed": 1})
    source.append([rollouts(tokenizer, f"a{i}") for i in range(5)])

    def build(*options):
        command = ["cold-start", "build", str(tmp_path / "rollouts"), "--model", "name/model"]
        command += ["--out", str(tmp_path / "out"), "--answers", f"{tmp_path}/teacher.py:answer", "--part-size", "2"]
        output = CliRunner().invoke(app, [*command, *options], catch_exceptions=False).output
        return " ".join(output.split())

    assert "5 trajectories from 5 attempts" in build("--sft", "6", "--ift", "3", "--val-share", "0")
    rows = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert not (tmp_path / "out" / "val.parquet").exists()
    assert sorted(row["kind"] for row in rows) == ["construction"] * 3 + ["plain"] * 3 + ["reflective"] * 3
    assert json.loads((tmp_path / "out" / "datasheet.json").read_text())["facts"]["recipe"]["sft"] == 6
    assert "train.parquet is complete" in build("--sft", "6", "--ift", "3", "--val-share", "0")
    source.append([rollouts(tokenizer, "new")])
    assert "6 trajectories from 6 attempts" in build("--sft", "6", "--ift", "3", "--val-share", "0")
    with pytest.raises(StoreMismatch, match=r"limits\.attempts = 4 then, 2 now"):
        build("--attempts", "2")
    (tmp_path / "prompt.txt").write_text("{query}{wrong}")
    with pytest.raises(ValueError, match="a construction prompt needs each of"):
        build("--prompt-file", str(tmp_path / "prompt.txt"))


def test_what_a_cold_start_built_is_inspected_as_what_a_run_constructed(tokenizer, tmp_path, monkeypatch):
    store = ConstructionStore.open_for_append(tmp_path / "out" / "constructions", {})
    over = ANSWER.replace(RECONSTRUCTION, "Step one leaves 84, less 39 are \\boxed{45}")
    answers = ("no tags", ANSWER), (over, over, over, over), (ANSWER,)
    store.append(
        [construct(tokenizer, Script(*texts), rollouts(tokenizer, f"q{i}")) for i, texts in enumerate(answers)]
    )
    for folder in (tmp_path / "out", tmp_path / "out" / "constructions"):
        found = read_constructions(folder)
        assert found.funnel == {0: {"attempted": 7, "parsed": 6, "spliced": 2, "correct": 2, "trained": 2}}
        assert found.reasons == {"bad_format": 1, "no_reflection": 4}
    trained = found.chosen(InspectOptions(dump=tmp_path))
    assert [entry.key for entry in trained] == ["q0/1", "q2/0"]
    assert [found.load(entry).trajectory for entry in (*trained, trained[0])] == [RECONSTRUCTION] * 3
    monkeypatch.setenv("COLUMNS", "120")
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "out")], catch_exceptions=False).output
    assert "2 of 2 that fit, 7 in all" in shown and "Wait, 84-39 is not 55." in shown
    report = write_page(InspectOptions(dump=tmp_path / "out", outcome="all"), tmp_path / "page.html")
    assert (report.shown, report.total, report.unshaded) == (7, 7, 0)


CHECK = """
def check(query, prefix, reflection, correction, is_correct):
    return "long" if "forty-five" in correction and is_correct else ""
"""


@pytest.mark.parametrize(("action", "kept"), [("count", 1), ("drop", 0)])
def test_a_check_judges_the_trajectories_of_a_cold_start_too(tokenizer, tmp_path, monkeypatch, action, kept):
    monkeypatch.setattr("tapo.cold_start.build.load_tokenizer", lambda model: tokenizer)
    long = ANSWER.replace("\n\\boxed", "\nThat is forty-five. \\boxed")
    (tmp_path / "teacher.py").write_text(TEACHER.format(answer=long))
    (tmp_path / "own.py").write_text(CHECK)
    RolloutStore.open_for_append(tmp_path / "rollouts", {}).append([rollouts(tokenizer)])
    command = ["cold-start", "build", str(tmp_path / "rollouts"), "--model", "name/model", "--attempts", "1"]
    command += ["--out", str(tmp_path / "out"), "--answers", f"{tmp_path}/teacher.py:answer"]
    options = ["--check", f"{tmp_path}/own.py:check", "--check-action", action]
    output = CliRunner().invoke(app, [*command, *options], catch_exceptions=False).output
    assert f"{kept} trajectories from 1 attempts" in output and ("rejected, check: 1" in output) is (not kept)
    [attempt] = next(iter(ConstructionStore.open(tmp_path / "out" / "constructions"))).attempts
    assert (attempt.check, attempt.outcome) == ("long", "trained" if kept else "check")
    found = read_constructions(tmp_path / "out")
    assert found.checks == {"long": 1}
    with pytest.raises(StoreMismatch, match="check = "):
        CliRunner().invoke(app, command, catch_exceptions=False)
    with pytest.raises(ValueError, match=r"check = 'no\.py:check' cannot work: needs FILE\.py:NAME"):
        CliRunner().invoke(app, [*command, "--check", "no.py:check"], catch_exceptions=False)


def test_constructions_that_were_stored_before_there_were_checks_are_read_as_before(tokenizer, tmp_path, monkeypatch):
    one = construct(tokenizer, Script(ANSWER), rollouts(tokenizer))
    plain = one.model_dump(exclude={"attempts": {"__all__": {*IDS, *ADDED}}})
    [earlier] = ConstructionStore.earlier
    with monkeypatch.context() as before:
        before.setattr(ConstructionStore, "schema", earlier)
        before.setattr(ConstructionStore, "to_table", lambda self, rows: pa.Table.from_pylist([plain], schema=earlier))
        ConstructionStore.open_for_append(tmp_path, {}).append([one])
    assert not ADDED & set(earlier.field("attempts").type.value_type.names)
    store = ConstructionStore.open_for_append(tmp_path, {})
    store.append([one.model_copy(update={"index": "b"})])
    assert [query.kept.trajectory for query in store] == [RECONSTRUCTION] * 2
    assert [query.kept.check for query in store] == [None, None]


def test_a_query_in_two_stores_is_refused(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tapo.cold_start.build.load_tokenizer", lambda model: tokenizer)
    (tmp_path / "teacher.py").write_text(TEACHER.format(answer=ANSWER))
    for name in "xy":
        RolloutStore.open_for_append(tmp_path / name, {}).append([rollouts(tokenizer)])
    command = ["cold-start", "build", str(tmp_path / "x"), str(tmp_path / "y"), "--model", "name/model"]
    command += ["--out", str(tmp_path / "out"), "--answers", f"{tmp_path}/teacher.py:answer"]
    with pytest.raises(ValueError, match=r"query a is in two stores of rollouts, the second is .*y"):
        CliRunner().invoke(app, command, catch_exceptions=False)

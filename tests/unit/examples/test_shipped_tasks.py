"""What holds of every task in `examples`."""

import random

import pytest
from transformers import AutoTokenizer

from examples.common.make_data import build_tables, parse_arguments, replay_chats
from examples.common.pretrain import draw_row, encode_chat
from examples.common.sample import construction_fault
from examples.common.task import load_task
from examples.common.tokenizer import build_tokenizer
from tapo.rewards import last_boxed
from tests.stand_ins.examples import EXAMPLES, SHIPPED

pytestmark = pytest.mark.parametrize("folder", SHIPPED, ids=lambda path: path.name)
SIZES = {"train": 40, "test": 20, "sampled": 30, "seeded": 60}


def tables(folder, *arguments):
    sizes = [text for name, size in SIZES.items() for text in (f"--{name}", str(size))]
    return build_tables(parse_arguments([str(folder), "unused", *sizes, *arguments]))


def test_data_depends_on_the_seed_alone(folder):
    assert tables(folder) == tables(folder)
    assert tables(folder)["train"] != tables(folder, "--seed", "1")["train"]


def test_no_problem_is_in_two_tables_and_held_out_ones_are_of_the_test_split(folder):
    task = load_task(folder)
    queries = {name: {row["prompt"][0]["content"] for row in rows} for name, rows in tables(folder).items()}
    assert {name: len(found) for name, found in queries.items()} == SIZES
    assert len(set().union(*queries.values())) == sum(SIZES.values())
    for name, found in queries.items():
        assert {task.parse(query).split for query in found} == {"test" if name == "test" else "train"}


def test_rows_carry_the_query_the_answer_and_the_task(folder):
    task = load_task(folder)
    for row in tables(folder)["train"]:
        [message] = row["prompt"]
        assert message["content"] == row["extra_info"]["query"]
        assert row["reward_model"]["ground_truth"] == str(task.parse(message["content"]).answer)
        assert row["data_source"] == task.name == folder.name


def test_a_text_that_is_no_query_is_refused(folder):
    with pytest.raises(ValueError, match="not a query"):
        load_task(folder).parse("What is 2+2?")


def test_the_shipped_model_has_the_tokenizer_of_the_task(folder):
    built = build_tokenizer(load_task(folder))
    assert AutoTokenizer.from_pretrained(folder / "base_model").get_vocab() == built.get_vocab()


def test_drills_are_made_of_the_tokenizers_words(folder):
    task, rng = load_task(folder), random.Random(0)
    tokenizer = build_tokenizer(task)
    for _ in range(300):
        user, assistant = draw_row(task, rng)
        ids, labels = encode_chat(tokenizer, user, assistant)
        assert tokenizer.unk_token_id not in ids and len(ids) <= task.model.get("max_position_embeddings", 1024)
        answer = [label for label in labels if label >= 0]
        assert tokenizer.decode(answer, skip_special_tokens=True) == assistant


def test_a_cold_start_goes_on_with_drills_where_a_task_names_some(folder):
    task = load_task(folder)
    options = parse_arguments([str(folder), "unused", "--replay", "200"])
    if not task.replay:
        with pytest.raises(ValueError, match=f"--replay 200: {task.name} names no drills"):
            replay_chats(options)
        return
    assert set(task.replay) <= set(task.drills)
    chats = [chat["messages"] for chat in replay_chats(options)]
    assert [[message["role"] for message in chat] for chat in chats] == [["user", "assistant"]] * 200
    assert replay_chats(options) == [{"messages": chat} for chat in chats]


def test_generated_rollouts_are_scored_by_their_answers_and_can_be_constructed_from(folder):
    task = load_task(folder)
    tokenizer = build_tokenizer(task)
    for seed in range(100):
        rng = random.Random(seed)
        problem = task.draw(rng, "train")
        texts, scores = task.seeded(problem, rng)
        assert scores == [float(last_boxed(text) == str(problem.answer)) for text in texts]
        correct = texts[scores.index(1.0)]
        wrong = [text for text, score in zip(texts, scores, strict=True) if not score]
        assert wrong and not any(task.needless_reflection(problem.query, text) for text in (correct, ""))
        for text in wrong:
            answer = task.construction(problem, text, correct)
            assert construction_fault(problem, text, answer, tokenizer) is None


def test_the_construction_prompt_has_each_placeholder_once(folder):
    template = (EXAMPLES / "common" / "construction_prompt.txt").read_text()
    assert [template.count(name) for name in ("{query}", "{wrong}", "{correct}")] == [1, 1, 1]
    tokens = build_tokenizer(load_task(folder)).tokenize(template)
    assert {"Query: ", "Wrong: ", "Correct: ", "Rewrite."} <= set(tokens)

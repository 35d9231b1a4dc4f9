"""The roads example's task, tokenizer and drills."""

import random
from pathlib import Path

import pytest

from examples.common.task import load_module, load_task
from examples.common.tokenizer import build_tokenizer
from tapo.core.reconstruction import splice

EXAMPLE = Path(__file__).parents[3] / "examples" / "roads"
TASK = load_task(EXAMPLE)
problem_module, rollouts = load_module(EXAMPLE, "problem"), load_module(EXAMPLE, "rollouts")

# 6 > 5 0 4, 6 > 8 2 7 (the goal), 6 > 3 9 1
EDGES = ((6, 5), (0, 4), (8, 2), (6, 8), (3, 9), (5, 0), (6, 3), (2, 7), (9, 1))
PROBLEM = problem_module.Problem(EDGES, start=6, goal=7)
QUERY = "Roads: 6>5 0>4 8>2 6>8 3>9 5>0 6>3 2>7 9>1. From 6 to 7. First stop?"
WRONG = "Try 6 5 0 4. End 4 is not 7.\n\\boxed{5}"
SOLUTION = "Try 6 8 2 7. End 7 is 7.\n\\boxed{8}"
REFLECTIVE = f"Try 6 5 0 4. End 4 is not 7.\nWait, 5 is wrong.\n{SOLUTION}"
SEEDS = range(200)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TASK)


def test_query_and_solution_read_as_documented():
    assert PROBLEM.query == QUERY
    assert problem_module.parse_query(QUERY) == PROBLEM
    assert (PROBLEM.answer, PROBLEM.solution) == (8, SOLUTION)
    assert PROBLEM.response([[5, 0, 4], [8, 2, 7]]) == REFLECTIVE
    assert problem_module.final_answer(REFLECTIVE) == 8


@pytest.mark.parametrize("text", ["What is 2+2?", QUERY.replace("to 7", "to 2"), QUERY.replace(" 6>5", "")[:20]])
def test_a_text_that_is_no_query_is_refused(text):
    with pytest.raises(ValueError, match="not a query"):
        TASK.parse(text)


def test_problems_are_stars_of_three_roads_and_depend_on_the_seed_alone():
    for seed in SEEDS:
        problem = TASK.draw(random.Random(seed), "train")
        assert problem == TASK.draw(random.Random(seed), "train")
        assert problem.split == "train" and TASK.parse(problem.query) == problem
        assert [len(road) for road in problem.roads] == [3, 3, 3]
        assert sorted([problem.start, *(town for road in problem.roads for town in road)]) == list(range(10))


def test_a_construction_keeps_the_walk_takes_the_road_back_and_ends_as_the_correct_response():
    expected = f"<analysis> 5 vs 8 differs.</analysis>\n<reconstruction>{REFLECTIVE}</reconstruction>"
    assert TASK.construction(PROBLEM, WRONG, SOLUTION) == expected
    # Of a guide that has tried before, the last try alone.
    tried = SOLUTION.replace("Try", "Try 6 3 9 1. End 1 is not 7.\nWait, 3 is wrong.\nTry")
    assert TASK.construction(PROBLEM, WRONG, tried) == expected


@pytest.mark.parametrize(
    "wrong", ["", "Try 6 5 0 4. End 4", "\\boxed{5}", "Try 6 5 0 4. \\boxed{5}", "Try 6\n\\boxed{}"]
)
def test_a_response_that_ends_in_no_answer_has_no_construction(wrong):
    assert TASK.construction(PROBLEM, wrong, SOLUTION) == ""


@pytest.mark.parametrize(
    ("response", "needless"),
    [
        (SOLUTION, False),
        (REFLECTIVE, False),
        (SOLUTION.replace("\\boxed{8}", "Wait, 8 is wrong.\nTry 6 5 0 4. End 4 is not 7.\n\\boxed{5}"), True),
        # It takes back a road whose end it has misread: not needless by what stands there.
        ("Try 6 8 2 7. End 4 is not 7.\nWait, 8 is wrong.\n", False),
        ("", False),
    ],
)
def test_a_reflection_on_a_road_that_was_seen_to_end_at_the_goal_is_needless(response, needless):
    assert TASK.needless_reflection(QUERY, response) is needless
    assert TASK.needless_reflection("What is 2+2?", response) is False


def test_generated_rollouts_are_scored_as_they_end_some_of_several_tries():
    tries = []
    for seed in SEEDS:
        problem = TASK.draw(random.Random(seed), "train")
        responses, scores = TASK.seeded(problem, random.Random(seed))
        assert scores == [float(problem_module.final_answer(text) == problem.answer) for text in responses]
        tries += [(score, text.count("Try")) for score, text in zip(scores, responses, strict=True)]
    assert {count for score, count in tries if score} == {1, 2, 3}
    assert {count for score, count in tries if not score} == {1, 2, 3, 4}


def test_every_reference_construction_splices_onto_its_rollout(tokenizer):
    for seed in SEEDS:
        problem = TASK.draw(random.Random(seed), "train")
        (correct, *wrongs), _ = TASK.seeded(problem, random.Random(seed))
        for wrong in wrongs:
            answer = TASK.construction(problem, wrong, correct)
            trajectory = answer.split("<reconstruction>")[1].removesuffix("</reconstruction>")
            ids = [*tokenizer.encode(wrong), tokenizer.eos_token_id]
            spliced = splice(ids, trajectory, tokenizer, max_length=80, require_reflection=True)
            assert spliced.text == trajectory
            assert spliced.prefix == wrong.rpartition("\\boxed{")[0]
            assert spliced.reflection == f"Wait, {problem_module.final_answer(wrong)} is wrong.\n"


def test_a_town_a_road_and_a_phrase_are_one_token(tokenizer):
    assert tokenizer.tokenize(QUERY)[:3] == ["Roads:", " 6>5", " 0>4"]
    first, verdict = ["Try", " 6", " 5", " 0", " 4", ". End", " 4", " is not", " 7", ".\n"], ["\\boxed{", "5", "}"]
    assert tokenizer.tokenize(WRONG) == first + verdict
    assert tokenizer.tokenize("Wait, 5 is wrong.\n") == ["Wait,", " 5", " is wrong.\n"]
    assert tokenizer.decode(tokenizer.encode(REFLECTIVE)) == REFLECTIVE


def test_the_shipped_base_model_has_this_tokenizer(tokenizer):
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(EXAMPLE / "base_model").get_vocab() == tokenizer.get_vocab()


def test_drills_take_nothing_back_in_a_plain_query_and_are_readable(tokenizer):
    for seed in SEEDS:
        rng = random.Random(seed)
        problem = TASK.draw(rng, "train")
        query, attempt = TASK.drills["attempt"].draw(problem, rng)
        assert query == problem.query and attempt.count("Try") == 1 and "Wait" not in attempt
        _, listed = TASK.drills["list"].draw(problem, rng)
        assert [list(map(int, line[4:-1].split())) for line in listed.splitlines()] == problem.roads
        asked, walked = TASK.drills["walk"].draw(problem, rng)
        named = [int(town) for town in asked.split("Walk ")[1].rstrip(".").split()]
        first = {road[0]: road for road in problem.roads}
        assert walked == "".join(problem.attempt(first[town]) for town in named)
        request, mended = TASK.drills["mend"].draw(problem, rng)
        assert problem.query in request and problem.attempt(problem.goal_road) in mended
        for text in (attempt, listed, asked, walked, request, mended):
            assert tokenizer.unk_token_id not in tokenizer.encode(text)

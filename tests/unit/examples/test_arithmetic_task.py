"""The arithmetic example's task."""

import random
import re

import pytest

from examples.arithmetic import drills, rollouts
from examples.arithmetic import problem as arithmetic
from examples.common.pretrain import draw_row
from examples.common.sample import construction_fault
from examples.common.task import load_task
from examples.common.tokenizer import build_tokenizer
from tapo.core.reconstruction import splice
from tests.stand_ins.examples import EXAMPLES

TASK = load_task(EXAMPLES / "arithmetic")
PROBLEM = arithmetic.Problem(28, (("*", 3), ("-", 39), ("+", 5), ("+", 8)))
SOLUTION = "Step 1: 28*3=84\nStep 2: 84-39=45\nStep 3: 45+5=50\nStep 4: 50+8=58\n\\boxed{58}"
WRONG = "Step 1: 28*3=84\nStep 2: 84-39=55\nStep 3: 55+5=60\nStep 4: 60+8=68\n\\boxed{68}"
REFLECTIVE = (
    "Step 1: 28*3=84\nStep 2: 84-39=55\nWait, 84-39 is not 55.\n"
    "Step 2: 84-39=45\nStep 3: 45+5=50\nStep 4: 50+8=58\n\\boxed{58}"
)
ANALYSIS = "Step 1: 84 vs 84 same.\nStep 2: 55 vs 45 differs."
SEEDS = range(200)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TASK)


def draw(seed: int) -> tuple[arithmetic.Problem, str, random.Random]:
    rng = random.Random(seed)
    problem = arithmetic.generate_problem(rng)
    return problem, arithmetic.inject_error(problem, rng), rng


def test_query_and_solution_read_as_documented():
    assert PROBLEM.query == "Start with 28. Multiply by 3. Subtract 39. Add 5. Add 8. What is the result?"
    assert PROBLEM.solution == SOLUTION
    assert arithmetic.parse_query(PROBLEM.query) == PROBLEM
    assert arithmetic.final_answer(SOLUTION) == 58


def test_a_text_that_is_no_query_is_refused():
    with pytest.raises(ValueError, match="not a query"):
        arithmetic.parse_query("What is 2+2?")


def test_problems_stay_in_range_and_depend_on_the_seed_alone():
    for seed in SEEDS:
        problem = arithmetic.generate_problem(random.Random(seed))
        assert problem == arithmetic.generate_problem(random.Random(seed))
        assert 4 <= len(problem.operations) <= 6
        assert all(1 <= value <= 99 for value in [problem.start, *problem.values])


def test_injected_errors_are_found_at_the_step_where_they_were_made():
    for seed in SEEDS:
        problem, wrong, _ = draw(seed)
        lines = wrong.splitlines(keepends=True)
        step = next(i for i, line in enumerate(lines) if line.rstrip("\n") != problem.steps[i])
        expected = arithmetic.Mistake(step + 1, lines[step].rstrip("\n"), len("".join(lines[: step + 1])))
        assert arithmetic.first_mistake(problem, wrong) == expected
        assert arithmetic.final_answer(wrong) != problem.answer


def test_right_solutions_and_corrected_errors_hold_no_mistake():
    assert arithmetic.first_mistake(PROBLEM, SOLUTION) is None
    assert arithmetic.first_mistake(PROBLEM, REFLECTIVE) is None


def test_the_first_mistake_of_a_reflective_rollout_is_the_uncorrected_one():
    wrong = REFLECTIVE.replace("50+8=58", "50+8=59").replace("{58}", "{59}")
    assert arithmetic.first_mistake(PROBLEM, wrong).line == "Step 4: 50+8=59"


@pytest.mark.parametrize(
    ("taken_back", "restated"),
    [
        ("Step 2: 84-39=55\nWait, 84-39 is not 55.\n", "Step 2: 84-39=35"),
        ("Step 2: 84-39=45\nWait, 84-39 is not 45.\n", "Step 2: 84-39=35"),
    ],
)
def test_a_step_restated_wrongly_is_the_mistake(taken_back, restated):
    wrong = f"Step 1: 28*3=84\n{taken_back}{restated}\nStep 3: 35+5=40\nStep 4: 40+8=48\n\\boxed{{48}}"
    mistake = arithmetic.first_mistake(PROBLEM, wrong)
    assert (mistake.step, mistake.line) == (2, restated)
    assert wrong[: mistake.end].endswith(f"{restated}\n")


def test_generated_reflective_rollouts_are_wrong_and_can_be_mended(tokenizer):
    for seed in SEEDS:
        problem, _, rng = draw(seed)
        wrong = rollouts.reflective_but_wrong(problem, rng)
        assert "Wait, " in wrong and arithmetic.final_answer(wrong) != problem.answer
        answer = arithmetic.construction(problem, wrong, problem.solution)
        assert construction_fault(problem, wrong, answer, tokenizer) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Step 2: 84-39=55", "Wait, 84-39 is not 55."),
        ("Step 2: 84-93=45", "Wait, step 2 is 84-39."),
        ("Step 3: 84+5=89", "Wait, step 2 is 84-39."),
    ],
)
def test_reflections_name_the_error(line, expected):
    assert arithmetic.reflection(PROBLEM, arithmetic.first_mistake(PROBLEM, f"Step 1: 28*3=84\n{line}\n")) == expected


def test_the_reference_construction_reads_as_documented():
    expected = f"<analysis>{ANALYSIS}</analysis>\n<reconstruction>{REFLECTIVE}</reconstruction>"
    assert arithmetic.construction(PROBLEM, WRONG, SOLUTION) == expected


def test_a_wrong_answer_behind_right_steps_is_reflected_on():
    wrong = SOLUTION.replace("{58}", "{68}")
    assert arithmetic.micro_reflective(PROBLEM, wrong) == f"{wrong}\nWait, the result is 58.\n\\boxed{{58}}"


@pytest.mark.parametrize("response", [SOLUTION, "Step 1: 28*3=84\n"])
def test_there_is_nothing_to_construct_from_a_rollout_that_states_no_error(response):
    assert arithmetic.construction(PROBLEM, response, SOLUTION) == ""
    with pytest.raises(ValueError, match="no error"):
        arithmetic.micro_reflective(PROBLEM, response)


@pytest.mark.parametrize(
    ("response", "needless"),
    [
        (SOLUTION, False),
        (WRONG, False),
        (REFLECTIVE, False),
        ("Step 1: 28*3=84\nWait, 28*3 is not 84.\nStep 1: 28*3=85\n", True),
        (REFLECTIVE.replace("Step 3", "Wait, 84-39 is not 45.\nStep 2: 84-39=45\nStep 3"), True),
        (f"{SOLUTION}\nWait, the result is 58.\n\\boxed{{58}}", True),
        ("no step at all", False),
    ],
)
def test_a_reflection_is_needless_where_nothing_in_front_of_it_is_wrong(response, needless):
    assert TASK.needless_reflection(PROBLEM.query, response) is needless


def test_reference_constructions_keep_the_prefix_through_the_first_error(tokenizer):
    for seed in SEEDS:
        problem, wrong, _ = draw(seed)
        end = arithmetic.first_mistake(problem, wrong).end
        trajectory = arithmetic.micro_reflective(problem, wrong)
        assert trajectory.startswith(wrong[:end])
        assert trajectory[end:].startswith("Wait, ")
        assert arithmetic.final_answer(trajectory) == problem.answer
        answer = arithmetic.construction(problem, wrong, problem.solution)
        assert construction_fault(problem, wrong, answer, tokenizer) is None


def test_reference_constructions_are_spliced_behind_the_first_error_with_their_reflection(tokenizer):
    for seed in SEEDS:
        problem, wrong, rng = draw(seed)
        last_line = problem.solution.replace(f"{{{problem.answer}}}", "{0}")
        for attempt in (wrong, rollouts.reflective_but_wrong(problem, rng), last_line):
            text = arithmetic.micro_reflective(problem, attempt)
            ids = [*tokenizer.encode(attempt, add_special_tokens=False), tokenizer.eos_token_id]
            spliced = splice(ids, text, tokenizer, max_length=500, require_reflection=True)
            kept = attempt[: arithmetic.first_mistake(problem, attempt).end].rstrip("\n")
            assert spliced.text == text and spliced.prefix.rstrip("\n") == kept
            assert spliced.ids[: spliced.prefix_length] == ids[: spliced.prefix_length]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("</reconstruction>", "", "bad_format"),
        ("<reconstruction>Step 1: 28*3=84", "<reconstruction>Step 1: 28*3=85", "not_verbatim"),
        ("\\boxed{58}", "\\boxed{68}", "incorrect"),
    ],
)
def test_faulty_constructions_are_told_apart(old, new, fault, tokenizer):
    answer = arithmetic.construction(PROBLEM, WRONG, SOLUTION)
    assert construction_fault(PROBLEM, WRONG, answer.replace(old, new), tokenizer) == fault


def test_drills_state_what_is_true():
    assert drills.verdict("Step 2: 84-39=55") == "84-39 is not 55."
    assert drills.verdict("Step 2: 84-39=45") == "84-39 is 45."
    for seed in SEEDS:
        _, answer = drills.compare_row(PROBLEM, random.Random(seed))
        for first, second, verdict in re.findall(r"(-?\d+) vs (-?\d+) (\w+)\.", answer):
            assert verdict == ("same" if first == second else "differs")
        query, copied = drills.copy_row(PROBLEM, random.Random(seed))
        assert query == f"Copy: {copied}"


def test_no_drill_shows_a_reflective_answer_to_a_plain_query():
    rng = random.Random(0)
    for _ in range(500):
        query, answer = draw_row(TASK, rng)
        if query.startswith("Start with "):
            assert "Wait, " not in answer


def test_seeded_rollouts_are_two_right_and_two_wrong_ones_that_can_be_constructed_from(tokenizer):
    for seed in SEEDS:
        problem, _, rng = draw(seed)
        texts, scores = TASK.seeded(problem, rng)
        assert [float(arithmetic.final_answer(text) == problem.answer) for text in texts] == scores
        assert scores == [1.0, 1.0, 0.0, 0.0]
        for wrong in texts[2:]:
            answer = TASK.construction(problem, wrong, texts[1])
            assert construction_fault(problem, wrong, answer, tokenizer) is None

"""The arithmetic example's task, tokenizer and data."""

import random
import re
import string
import sys
from pathlib import Path

import pytest

from tapo.core.reconstruction import splice

EXAMPLE = Path(__file__).parents[3] / "examples" / "arithmetic"
sys.path.insert(0, str(EXAMPLE))

import drills  # noqa: E402
import make_data  # noqa: E402
import seed_rollouts  # noqa: E402
import task  # noqa: E402
import teacher  # noqa: E402
import tokenizer as arithmetic_tokenizer  # noqa: E402

PROBLEM = task.Problem(28, (("*", 3), ("-", 39), ("+", 5), ("+", 8)))
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
    return arithmetic_tokenizer.build_tokenizer()


def draw(seed: int) -> tuple[task.Problem, str, random.Random]:
    rng = random.Random(seed)
    problem = task.generate_problem(rng)
    return problem, task.inject_error(problem, rng), rng


def test_query_and_solution_read_as_documented():
    assert PROBLEM.query == "Start with 28. Multiply by 3. Subtract 39. Add 5. Add 8. What is the result?"
    assert PROBLEM.solution == SOLUTION
    assert task.parse_query(PROBLEM.query) == PROBLEM
    assert task.final_answer(SOLUTION) == 58


def test_a_text_that_is_no_query_is_refused():
    with pytest.raises(ValueError, match="not a query"):
        task.parse_query("What is 2+2?")


def test_problems_stay_in_range_and_depend_on_the_seed_alone():
    for seed in SEEDS:
        problem = task.generate_problem(random.Random(seed))
        assert problem == task.generate_problem(random.Random(seed))
        assert 4 <= len(problem.operations) <= 6
        assert all(1 <= value <= 99 for value in [problem.start, *problem.values])


def test_injected_errors_are_found_at_the_step_where_they_were_made():
    for seed in SEEDS:
        problem, wrong, _ = draw(seed)
        lines = wrong.splitlines(keepends=True)
        step = next(i for i, line in enumerate(lines) if line.rstrip("\n") != problem.steps[i])
        expected = task.Mistake(step + 1, lines[step].rstrip("\n"), len("".join(lines[: step + 1])))
        assert task.first_mistake(problem, wrong) == expected
        assert task.final_answer(wrong) != problem.answer


def test_right_solutions_and_corrected_errors_hold_no_mistake():
    assert task.first_mistake(PROBLEM, SOLUTION) is None
    assert task.first_mistake(PROBLEM, REFLECTIVE) is None


def test_the_first_mistake_of_a_reflective_rollout_is_the_uncorrected_one():
    wrong = REFLECTIVE.replace("50+8=58", "50+8=59").replace("{58}", "{59}")
    assert task.first_mistake(PROBLEM, wrong).line == "Step 4: 50+8=59"


@pytest.mark.parametrize(
    ("taken_back", "restated"),
    [
        ("Step 2: 84-39=55\nWait, 84-39 is not 55.\n", "Step 2: 84-39=35"),
        ("Step 2: 84-39=45\nWait, 84-39 is not 45.\n", "Step 2: 84-39=35"),
    ],
)
def test_a_step_restated_wrongly_is_the_mistake(taken_back, restated):
    wrong = f"Step 1: 28*3=84\n{taken_back}{restated}\nStep 3: 35+5=40\nStep 4: 40+8=48\n\\boxed{{48}}"
    mistake = task.first_mistake(PROBLEM, wrong)
    assert (mistake.step, mistake.line) == (2, restated)
    assert wrong[: mistake.end].endswith(f"{restated}\n")


def test_generated_reflective_rollouts_are_wrong_and_can_be_mended():
    for seed in SEEDS:
        problem, _, rng = draw(seed)
        wrong = seed_rollouts.reflective_but_wrong(problem, rng)
        assert "Wait, " in wrong and task.final_answer(wrong) != problem.answer
        assert task.construction_fault(problem, wrong, task.construction(problem, wrong, problem.solution)) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Step 2: 84-39=55", "Wait, 84-39 is not 55."),
        ("Step 2: 84-93=45", "Wait, step 2 is 84-39."),
        ("Step 3: 84+5=89", "Wait, step 2 is 84-39."),
    ],
)
def test_reflections_name_the_error(line, expected):
    assert task.reflection(PROBLEM, task.first_mistake(PROBLEM, f"Step 1: 28*3=84\n{line}\n")) == expected


def test_the_reference_construction_reads_as_documented():
    expected = f"<analysis>{ANALYSIS}</analysis>\n<reconstruction>{REFLECTIVE}</reconstruction>"
    assert task.construction(PROBLEM, WRONG, SOLUTION) == expected


def test_a_wrong_answer_behind_right_steps_is_reflected_on():
    wrong = SOLUTION.replace("{58}", "{68}")
    assert task.micro_reflective(PROBLEM, wrong) == f"{wrong}\nWait, the result is 58.\n\\boxed{{58}}"


def test_there_is_nothing_to_construct_from_a_right_rollout():
    with pytest.raises(ValueError, match="no error"):
        task.construction(PROBLEM, SOLUTION, SOLUTION)


def test_reference_constructions_keep_the_prefix_through_the_first_error():
    for seed in SEEDS:
        problem, wrong, _ = draw(seed)
        end = task.first_mistake(problem, wrong).end
        trajectory = task.micro_reflective(problem, wrong)
        assert trajectory.startswith(wrong[:end])
        assert trajectory[end:].startswith("Wait, ")
        assert task.final_answer(trajectory) == problem.answer
        assert task.construction_fault(problem, wrong, task.construction(problem, wrong, problem.solution)) is None


def test_reference_constructions_are_spliced_behind_the_first_error_with_their_reflection(tokenizer):
    for seed in SEEDS:
        problem, wrong, rng = draw(seed)
        last_line = problem.solution.replace(f"{{{problem.answer}}}", "{0}")
        for attempt in (wrong, seed_rollouts.reflective_but_wrong(problem, rng), last_line):
            text = task.micro_reflective(problem, attempt)
            ids = [*tokenizer.encode(attempt, add_special_tokens=False), tokenizer.eos_token_id]
            spliced = splice(ids, text, tokenizer, max_length=500, require_reflection=True)
            kept = attempt[: task.first_mistake(problem, attempt).end].rstrip("\n")
            assert spliced.text == text and spliced.prefix.rstrip("\n") == kept
            assert spliced.ids[: spliced.prefix_length] == ids[: spliced.prefix_length]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("</reconstruction>", "", "tags"),
        ("<reconstruction>Step 1: 28*3=84", "<reconstruction>Step 1: 28*3=85", "prefix"),
        ("Wait, 84-39 is not 55.\n", "", "reflection"),
        ("\\boxed{58}", "\\boxed{68}", "answer"),
    ],
)
def test_faulty_constructions_are_told_apart(old, new, fault):
    answer = task.construction(PROBLEM, WRONG, SOLUTION)
    assert task.construction_fault(PROBLEM, WRONG, answer.replace(old, new)) == fault


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
        query, answer = drills.draw_row(rng, (0.4, 0.1, 0.1, 0.4, 0.0))
        if query.startswith("Start with "):
            assert "Wait, " not in answer


def test_tokenizer_is_lossless_on_ascii(tokenizer):
    texts = [
        "".join(map(chr, range(32, 127))) + "\n\t",
        string.ascii_letters * 3,
        "  two  spaces . Add  Add Step 1:Step 1: \n\n",
        task.construction(PROBLEM, WRONG, SOLUTION),
    ]
    for text in texts:
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_phrases_and_tags_are_single_tokens(tokenizer):
    tokens = tokenizer.tokenize("<analysis>Step 2: 55 vs 45 differs.</analysis>\n<reconstruction>")
    assert tokens == [
        *("<analysis>", "Step 2: ", "5", "5", " vs ", "4", "5", " differs.", "</analysis>"),
        *("\n", "<reconstruction>"),
    ]


def test_chat_template_marks_roles_and_ends_answers(tokenizer):
    messages = [
        {"role": "system", "content": "A"},
        {"role": "user", "content": "B"},
        {"role": "assistant", "content": "C"},
    ]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    assert whole == "<|system|>A<|user|>B<|assistant|>C<|end|>"
    prompt = tokenizer.apply_chat_template(messages[:2], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|system|>A<|user|>B<|assistant|>"
    assert tokenizer.decode(tokenizer(whole).input_ids, skip_special_tokens=True) == "ABC"


def test_a_saved_tokenizer_is_loaded_unchanged(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = tokenizer.apply_chat_template([{"role": "user", "content": PROBLEM.query}], tokenize=False)
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert (len(loaded), loaded.eos_token, loaded.pad_token) == (len(tokenizer), "<|end|>", "<|pad|>")
    assert loaded.chat_template == tokenizer.chat_template


def test_the_construction_prompt_has_each_placeholder_once():
    template = (EXAMPLE / "construction_prompt.txt").read_text()
    assert [template.count(name) for name in ("{query}", "{wrong}", "{correct}")] == [1, 1, 1]


def build(*arguments: str) -> dict[str, list[dict]]:
    sizes = ["--train", "40", "--test", "20", "--sampled", "30", "--seeded", "60"]
    return make_data.build_tables(make_data.parse_arguments(["unused", *sizes, *arguments]))


def test_data_depends_on_the_seed_alone():
    assert build() == build()
    assert build()["train"] != build("--seed", "1")["train"]


def test_no_problem_is_in_two_tables_and_held_out_ones_are_of_the_test_split():
    queries = {name: {row["prompt"][0]["content"] for row in rows} for name, rows in build().items()}
    assert {name: len(found) for name, found in queries.items()} == {
        "train": 40,
        "test": 20,
        "sampled": 30,
        "seeded": 60,
    }
    assert len(set().union(*queries.values())) == 150
    for name, found in queries.items():
        assert {task.parse_query(query).split for query in found} == {"test" if name == "test" else "train"}


def test_seeded_rollouts_are_two_right_and_two_wrong_ones_that_can_be_constructed_from():
    for seed in SEEDS:
        problem, _, rng = draw(seed)
        texts, scores = seed_rollouts.responses(problem, rng)
        assert [float(task.final_answer(text) == problem.answer) for text in texts] == scores == [1.0, 1.0, 0.0, 0.0]
        for wrong in texts[2:]:
            answer = teacher.answer(problem.query, wrong, texts[1], seed)
            assert task.construction_fault(problem, wrong, answer) is None


def test_the_teacher_has_no_answer_where_no_error_is_stated():
    assert teacher.answer(PROBLEM.query, "Step 1: 28*3=84\n", PROBLEM.solution, 1) == ""

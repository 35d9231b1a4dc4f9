"""The simulated engine: times, tokens and answers on cases that can be worked out by hand."""

import pytest

from benchmarks.at_scale import texts
from benchmarks.at_scale.answers import CLOSE, OPEN, Author
from benchmarks.at_scale.options import Policy, Rates
from benchmarks.at_scale.prefix_cache import PrefixCache
from benchmarks.at_scale.settings import UnknownSetting, names, overrides_of
from benchmarks.at_scale.task import compute_score, tokenizer
from benchmarks.at_scale.world import World
from tapo.core.prompts import CONSTRUCTION_PROMPT, construction_messages
from tapo.core.reconstruction import decode, parse_construction, splice

# 100 prompt tokens a second; one sequence decodes at 10 tokens a second, two at 5 each.
ROUND = Rates(slots=2, prefill_tokens_per_s=100, step_s=0.0, step_s_per_sequence=0.1, block=4, cache_tokens=400)


def events(world, number):
    """(time, who) of so many events."""
    found = []
    while len(found) < number:
        found += [(pytest.approx(world.now), who) for who in world.jump()]
    return found


def test_the_clock_is_exact_for_three_requests_on_two_slots():
    world = World(ROUND, replicas=1)
    world.submit(0, 1, prompt=range(0, 100), answer=range(10))
    world.submit(0, 2, prompt=range(1000, 1100), answer=range(20))
    world.submit(0, 3, prompt=range(2000, 2100), answer=range(5))
    # 1 is prefilled at 1 s, and has all 10 tokens at 2 s, when 2 is prefilled too. 3 gets its slot then, is prefilled
    # at 3 s, when 2 has 10 tokens, and they share until 3 has its 5 at 4 s. 2 has 15 then, and 5 to go alone.
    assert events(world, 3) == [(2.0, 1), (4.0, 3), (4.5, 2)]
    assert world.served[0].most_served == 2


def test_sleeps_end_between_the_events_of_the_engine_and_a_jump_goes_no_further_than_it_may():
    world = World(ROUND, replicas=1)
    world.submit(0, 1, prompt=range(100), answer=range(10))
    world.sleep(2, 1.5)
    world.sleep(4, 3.0)
    assert (world.jump(until=1.25), world.now) == ([], 1.25)
    assert events(world, 3) == [(1.5, 2), (2.0, 1), (3.0, 4)]
    with pytest.raises(RuntimeError, match="nothing to do"):
        world.jump()


def test_replicas_do_not_slow_each_other_down():
    world = World(ROUND, replicas=2)
    for replica in (0, 1):
        world.submit(replica, replica, prompt=range(100), answer=range(10))
    assert events(world, 2) == [(2.0, 0), (2.0, 1)]


def test_a_prompt_that_begins_as_an_earlier_one_is_prefilled_from_there_on():
    world = World(ROUND, replicas=1)
    world.submit(0, 1, prompt=range(100), answer=range(500, 510))
    events(world, 1)
    # 100 tokens and 10 answered ones were computed: 27 whole blocks of 4.
    world.submit(0, 2, prompt=[*range(100), *range(500, 510), 7, 8], answer=range(10))
    assert events(world, 1) == [(2.0 + 0.04 + 1.0, 2)]
    served = world.served[0]
    assert (served.prefilled, served.cached, served.decoded) == (104, 108, 20)


def test_the_same_prompt_again_still_computes_its_last_token():
    world = World(ROUND, replicas=1)
    for number in (1, 2):
        world.submit(0, number, prompt=range(100), answer=range(10))
        events(world, 1)
    assert (world.served[0].prefilled, world.served[0].cached) == (101, 99)


def test_the_cache_forgets_what_was_used_longest_ago():
    cache = PrefixCache(tokens=8, block=4)
    cache.add(range(8))
    cache.add(range(100, 104))
    assert (cache.find(range(8)), cache.find(range(100, 108))) == (0, 4)


def test_a_replica_put_to_sleep_answers_nothing_more_and_its_cache_is_gone():
    world = World(ROUND, replicas=1)
    for number in (1, 2):
        world.submit(0, number, prompt=range(100), answer=range(10))
    # 2 finds all but a token of its prompt in the cache: from 1.01 s on the two share, and 1 has 9.9 tokens to go.
    assert events(world, 1) == [(2.99, 1)]
    world.spend(60.0)
    world.submit(0, 3, prompt=range(100), answer=range(10))
    assert events(world, 1) == [(2.99 + 60.0 + 2.0, 3)]


def test_a_request_that_is_given_up_leaves_its_slot_and_what_was_decoded_of_it_is_known():
    world = World(ROUND, replicas=1)
    for number in (1, 2, 3):
        world.submit(0, number, prompt=range(1000 * number, 1000 * number + 100), answer=range(20))
    # 1 has 10 tokens at 2 s, when 2 is prefilled, and 12.5 at 2.5 s, when 2 has 2.5.
    assert world.jump(until=2.5) == []
    assert (world.abort(1), world.abort(1)) == (12, 0)
    # 3 is in its place and not yet prefilled when it is given up too; 2 goes on alone all the time.
    assert (world.jump(until=3.25), world.abort(3)) == ([], 0)
    assert events(world, 1) == [(4.25, 2)]
    assert world.served[0].decoded == 32


@pytest.fixture(scope="module")
def words():
    return tokenizer(seed=0)


def author(words, *, own=False, **policy):
    policy = Policy(median_share=0.3, bad_answers=0.0, guided_accuracy=1.0, own_accuracy=1.0, **policy)
    return Author(words, {CONSTRUCTION_PROMPT: own}, policy, response_length=1000, seed=0)


def chat(words, messages):
    text = words.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return words.encode(text, add_special_tokens=False)


def pair(words, engine, number=0):
    """(query, its prompt's ids, ids of a wrong and of a correct rollout that ended)."""
    query = texts.query(number, seed=0)
    prompt = chat(words, [{"role": "user", "content": query}])
    found = {}
    while len(found) < 2:
        answer = engine.answer(prompt, {})
        if answer.stopped:
            found[compute_score("", decode(words, answer.ids), texts.solution(query), {})] = answer.ids
    return query, prompt, found[0.0], found[1.0]


def construction_prompt(words, query, wrong, correct):
    own = [decode(words, ids) for ids in (wrong, correct)]
    return chat(words, construction_messages([{"role": "user", "content": query}], wrong=own[0], correct=own[1]))


def test_rollouts_are_right_or_wrong_end_in_eos_and_repeat_in_another_run(words):
    _, prompt, wrong, correct = pair(words, engine := author(words))
    assert wrong[-1] == correct[-1] == words.eos_token_id
    again = author(words)
    assert [again.answer(prompt, {}).ids for _ in range(3)] != [engine.answer(prompt, {}).ids for _ in range(3)]
    first, second = author(words), author(words)
    assert [first.answer(prompt, {}) for _ in range(3)] == [second.answer(prompt, {}) for _ in range(3)]


def test_a_rollout_that_is_too_long_is_cut_off(words):
    engine, prompt = author(words), chat(words, [{"role": "user", "content": texts.query(0, seed=0)}])
    answer = engine.answer(prompt, {"max_tokens": 40})
    assert (len(answer.ids), answer.stopped, answer.constructs) == (40, False, False)


def test_a_verbatim_construction_parses_splices_and_is_right(words):
    query, _, wrong, correct = pair(words, engine := author(words))
    answer = engine.answer(construction_prompt(words, query, wrong, correct), {"max_tokens": 3000})
    assert answer.constructs and answer.stopped
    reconstruction = parse_construction(decode(words, answer.ids)).reconstruction
    spliced = splice(wrong, reconstruction, words, max_length=3000)
    error = texts.find_error(decode(words, wrong))
    assert spliced.prefix.removesuffix("\n") == decode(words, wrong)[: error.end]
    assert spliced.has_reflection and spliced.reflection.strip() == error.notice
    assert compute_score("", spliced.text, texts.solution(query), {}) == 1.0


def test_the_stop_string_ends_an_answer_and_the_kept_text_behind_it_gets_the_rest(words):
    query, _, wrong, correct = pair(words, engine := author(words))
    prompt = construction_prompt(words, query, wrong, correct)
    params = {"max_tokens": 3000, "stop": [OPEN], "include_stop_str_in_output": True}
    opening = engine.answer(prompt, params)
    text = decode(words, opening.ids)
    error = texts.find_error(decode(words, wrong))
    assert opening.stopped and text.endswith(OPEN) and f"<quote>{error.line}</quote>" in text
    kept = words.encode(decode(words, wrong)[: error.end], add_special_tokens=False)
    assert wrong[: len(kept)] == kept
    rest = decode(words, engine.answer([*prompt, *opening.ids, *kept], {"max_tokens": 3000}).ids)
    assert rest.startswith(f"\n{error.notice}\nStep {error.number + 1}: ") and rest.endswith(CLOSE)
    kept = words.encode(decode(words, wrong)[: error.end + 1], add_special_tokens=False)
    assert decode(words, engine.answer([*prompt, *opening.ids, *kept], {"max_tokens": 4}).ids).startswith("Wait")


def test_slices_add_up_to_the_whole_answer(words):
    query, _, wrong, correct = pair(words, engine := author(words))
    prompt = construction_prompt(words, query, wrong, correct)
    whole = author(words).answer(prompt, {"max_tokens": 3000}).ids
    said = []
    while len(said) < len(whole):
        said += engine.answer([*prompt, *said], {"max_tokens": 64}).ids
    assert said == whole


def test_a_correction_of_ones_own_goes_on_behind_the_notice_like_a_rollout(words):
    query, prompt, wrong, correct = pair(words, engine := author(words, own=True))
    error = texts.find_error(decode(words, wrong))
    answer = engine.answer(construction_prompt(words, query, wrong, correct), {"max_tokens": 3000})
    assert decode(words, answer.ids).endswith(f"{error.line}\n{error.notice}\n{CLOSE}")
    begun = decode(words, wrong)[: error.end] + f"\n{error.notice}\n"
    own = engine.answer([*prompt, *words.encode(begun, add_special_tokens=False)], {})
    assert own.constructs and own.ids[-1] == words.eos_token_id
    assert decode(words, own.ids).startswith(f"Step {error.number + 1}: ")
    assert compute_score("", begun + decode(words, own.ids), texts.solution(query), {}) == 1.0


def test_settings_are_forms_with_and_without_a_deadline():
    assert names()[:3] == ["grpo", "verbatim+guided", "verbatim+guided+deadline"]
    of = "algorithm.tapo.construction"
    assert overrides_of("anchored+own+deadline", 30.0) == [
        f"{of}.copy=anchored",
        f"{of}.correction=own",
        f"{of}.deadline=30.0",
    ]
    with pytest.raises(UnknownSetting, match="there is no setting 'grpo\\+deadline'"):
        overrides_of("grpo+deadline", 30.0)

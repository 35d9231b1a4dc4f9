"""The actor's answers: read and spliced, or dropped under a reason; never anything else."""

import random

import pytest

from tapo.core.anchor import find_anchor
from tapo.core.answer import parse_construction
from tapo.core.funnel import REASONS, ConstructionError
from tapo.core.reconstruction import splice
from tapo.core.tokens import decode
from tests.attack.texts import mutated, piece
from tests.stand_ins.texts import ANSWER, WRONG
from tests.stand_ins.vocabularies import KINDS

MAX_LENGTH = 400


@pytest.fixture(scope="module")
def vocabularies(byte_tokenizer):
    return [byte_tokenizer, *(make() for make in KINDS.values())]


def wrong_in(spliced, wrong_ids, tokenizer):
    """What is wrong with a trajectory; "" where nothing is."""
    kept = spliced.ids[: spliced.prefix_length]
    if kept != wrong_ids[: spliced.prefix_length]:
        return "the kept ids are not the rollout's"
    if decode(tokenizer, spliced.ids) != spliced.text:
        return "the ids do not decode to the text"
    if decode(tokenizer, kept) != spliced.prefix:
        return "the kept ids do not decode to the prefix"
    return "too long" if len(spliced.ids) > MAX_LENGTH else ""


def test_answers(tally, vocabularies):
    """Hostile answers, read and spliced."""
    draw, kept = random.Random(0), 0
    for number in range(2500):
        tokenizer = vocabularies[number % len(vocabularies)]
        wrong_ids = [*tokenizer.encode(WRONG, add_special_tokens=False), tokenizer.eos_token_id]
        answer = mutated(ANSWER, draw)
        with tally.input():
            try:
                construction = parse_construction(answer, ended=draw.random() < 0.5)
                spliced = splice(
                    wrong_ids,
                    construction.reconstruction,
                    tokenizer,
                    wrong_text=decode(tokenizer, wrong_ids),
                    max_length=MAX_LENGTH,
                )
            except ConstructionError as error:
                assert error.reason in REASONS
                continue
        kept += 1
        if said := wrong_in(spliced, wrong_ids, tokenizer):
            tally.wrong.append((said, answer))
        elif "reconstruction>" in spliced.text:
            tally.wrong.append(("a tag is trained", answer))
    assert kept > 100


def test_splices(tally, vocabularies):
    """Splices at any cut of any text, in vocabularies of each kind."""
    draw, kept = random.Random(1), 0
    for number in range(10_000):
        tokenizer = vocabularies[number % len(vocabularies)]
        words = WRONG.split(" ") + [piece(draw) for _ in range(6)]
        text = " ".join(draw.choice(words) for _ in range(draw.randrange(4, 25)))
        wrong_ids = tokenizer.encode(text, add_special_tokens=False)
        text = decode(tokenizer, wrong_ids)
        cut = draw.randrange(len(text) + 1)
        new = text[:cut] + draw.choice(["\nWait, that is not right. ", "", piece(draw)]) + mutated(text[cut:], draw)
        with tally.input():
            try:
                spliced = splice(wrong_ids, new, tokenizer, wrong_text=text, max_length=MAX_LENGTH)
            except ConstructionError as error:
                assert error.reason in REASONS
                continue
        kept += 1
        if said := wrong_in(spliced, wrong_ids, tokenizer):
            tally.wrong.append((said, text, new))
        elif not text.startswith(spliced.prefix):
            tally.wrong.append(("the prefix is not the rollout's", text, new))
    assert kept > 1000


def test_quotes(tally):
    """Quotes of a passage, found or refused."""
    draw, found = random.Random(2), 0
    for _ in range(2500):
        lines = [f"Step {i}: {draw.randrange(9)}+{draw.randrange(9)}={draw.randrange(18)}" for i in range(12)]
        attempt = "\n".join(lines) if draw.random() < 0.8 else mutated("\n".join(lines), draw)
        quote = draw.choice(lines)
        quote = quote if draw.random() < 0.4 else mutated(quote, draw)
        with tally.input():
            try:
                anchor = find_anchor(quote, attempt)
            except ConstructionError as error:
                assert error.reason in ("no_anchor", "ambiguous_anchor")
                continue
        found += 1
        if not 0 < anchor.end <= len(attempt) or (
            anchor.found == "exact" and quote.strip() not in attempt[: anchor.end]
        ):
            tally.wrong.append((quote, attempt, anchor))
    assert found > 500

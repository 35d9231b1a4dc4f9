import pytest

from tapo.data.text import BOXED_INSTRUCTION, canonical_text, prompt_of, question_of, tokens_of


@pytest.mark.parametrize(
    "one, two",
    [
        (r"Find $\dfrac{1}{2}$.", r"find \(\frac{1}{2}\)"),
        (r"\frac12 + \frac 1{3}", r"\frac{1}{2}+\frac{1}{3}"),
        (r"\left( x,\, y \right)", "(x,y)"),
        (r"Let $x\!+\!y\;=\;3\quad\text{and}~z$", "let x+y=3 and z"),
        ("2^{10}", "2^10"),
        ("$1{,}000$ dollars", "1000 dollars"),
        ("10,000,000", "10000000"),
        (r"\[a \leq b \geqslant c\]", r"a \le b \ge c"),
        ("a ≤ b × c", r"a \le b \cdot c"),
        (r"a_1, \ldots, a_n", "a_1,…,a_n"),
        (r"x − 1", "x-1"),
        ("ﬁnd  the\n\tvalue!".replace("!", ""), "Find the value"),
        (r"$\angle A = 90^{\circ}$", r"\angle A = 90°"),
        (r"\textbf{How} many \mathrm{cm}", "how many cm"),
        ("A square. [asy] draw((0,0)--(1,1)); [/asy] Find it.", "A square. Find it."),
        (r"a \\ b & c", "a b c"),
        ("the $n$-gon", "the n-gon"),
    ],
)
def test_typesetting_alone_changes_no_token(one, two):
    assert canonical_text(one) == canonical_text(two) != ""


@pytest.mark.parametrize(
    "one, two",
    [
        ("x+1", "x-1"),
        ("12", "1 2"),
        (r"\leftarrow", "arrow"),
        ("x^{12}", "x^1 2"),
        ("3.5", "35"),
        ("f(1,000)", "f(1,00)"),
    ],
)
def test_what_makes_another_problem_changes_the_tokens(one, two):
    assert tokens_of(one) != tokens_of(two)


def test_tokens_are_words_numbers_commands_and_operators():
    assert tokens_of(r"Let $\frac{a}{12} \ge 3.5$, 求x.") == ["let", r"\frac", "a", "12", r"\ge", "3.5", "求", "x"]


def test_the_question_comes_back_from_its_prompt():
    assert prompt_of("How many?") == [{"role": "user", "content": f"How many?\n{BOXED_INSTRUCTION}"}]
    assert question_of(prompt_of("How many?")) == "How many?"
    assert question_of([{"role": "system", "content": "s"}, {"role": "user", "content": "bare"}]) == "bare"
    for prompt in ("text", [{"role": "system", "content": "s"}], None):
        with pytest.raises(ValueError, match="needs chat messages"):
            question_of(prompt)

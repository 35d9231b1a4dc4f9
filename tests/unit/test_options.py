"""A class of options: what it refuses, and the command that is made from it."""

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field, ValidationError, model_validator
from typer.testing import CliRunner

from tapo.cli import COMMANDS
from tapo.options import AtLeastOne, ConfigError, KeyValues, NotNegative, Options, Share, as_command


class Bounds(Options):
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _check(self):
        if self.high < self.low:
            raise ConfigError("high", self.high, f"needs a bound >= low ({self.low})")
        return self


class Engine(Options):
    panel = "Engine"

    model: str
    """Folder or name."""
    engine: KeyValues = Field(default_factory=dict)
    """Of the engine."""


class Sample(Engine):
    data: Annotated[tuple[Path, ...], typer.Argument()]
    """Files of
    queries."""
    n: AtLeastOne | None = None
    temperature: NotNegative = 1.0
    share: Share = 0.5
    kind: Literal["some", "all"] = "some"
    exact: bool = True
    reward_threshold: Annotated[float, typer.Option("--reward-threshold", "--threshold")] = 0.5
    bounds: Bounds = Bounds()

    @classmethod
    def key(cls, path):
        return f"run.{path}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "run.n = 0 cannot work: needs an integer >= 1"),
        ({"n": 2.5}, "run.n = 2.5 cannot work: needs a value of type int | None"),
        ({"n": "1"}, "run.n = '1' cannot work: needs a value of type int | None"),
        ({"n": True}, "run.n = True cannot work: needs a value of type int | None"),
        ({"temperature": -1}, "run.temperature = -1 cannot work: needs a number >= 0"),
        ({"temperature": True}, "run.temperature = True cannot work: needs a value of type float"),
        ({"reward_threshold": float("nan")}, "run.reward_threshold = nan cannot work: needs a value of type float"),
        ({"share": 1.5}, "run.share = 1.5 cannot work: needs a share between 0 and 1"),
        ({"kind": "none"}, "run.kind = 'none' cannot work: allowed are some, all"),
        ({"exact": "yes"}, "run.exact = 'yes' cannot work: needs a value of type bool"),
        ({"model": None}, "run.model = None cannot work: needs a value of type str"),
        ({"engine": ["a"]}, "run.engine = 'a' cannot work: needs KEY=VALUE"),
        (
            {"engine": ["a=[1,"]},
            "run.engine = 'a=[1,' cannot work: needs a VALUE of YAML: "
            "expected the node content, but found '<stream end>'",
        ),
        ({"bounds": 3}, "run.bounds = 3 cannot work: needs a mapping of options"),
        ({"bounds": {"high": -1}}, "run.bounds.high = -1.0 cannot work: needs a bound >= low (0.0)"),
        ({"bounds": {"lo": 1}}, "run.bounds.lo = 1 cannot work: no such option, known are high, low"),
    ],
)
def test_what_cannot_work_is_named_with_key_value_and_what_is_allowed(options, message):
    for make in (lambda values: Sample(**values), Sample.from_mapping):
        with pytest.raises(ConfigError) as error:
            make({"model": "m", "data": ()} | options)
        assert str(error.value) == message


def test_an_option_without_a_default_is_asked_for():
    with pytest.raises(ConfigError, match=r"^run\.data = None cannot work: needs a value$"):
        Sample(model="m")


def test_an_integer_passes_as_a_number_and_nothing_as_the_defaults():
    assert Bounds(high=2) == Bounds(low=0.0, high=2.0)
    assert Sample(model="m", data=(), bounds=None).bounds == Bounds.from_mapping(None) == Bounds()


def test_options_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Bounds().low = 1.0


def test_a_part_is_what_one_base_class_holds_as_json_does():
    sample = Sample(model="m", engine={"a": 1}, data=(Path("x"),))
    assert sample.part(Engine) == {"model": "m", "engine": {"a": 1}}
    assert sample.part(Sample)["data"] == ["x"]


def run(*arguments):
    app = typer.Typer()
    seen = []

    class Drawing(Engine):
        """Draws."""

        data: Annotated[tuple[Path, ...], typer.Argument()]
        """Files of
        queries."""
        n: AtLeastOne | None = None
        exact: bool = True
        reward_threshold: Annotated[float, typer.Option("--reward-threshold", "--threshold")] = 0.5
        """Correct iff greater."""

    app.command()(as_command(Drawing, seen.append))
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    return seen, result


def test_a_command_takes_the_options_of_its_class():
    arguments = ["a", "b", "--model", "m", "--engine", "x=2", "--engine", "y=no", "--threshold", "0.7", "--no-exact"]
    (options,), _ = run(*arguments)
    assert options.data == (Path("a"), Path("b")) and options.engine == {"x": 2, "y": False}
    assert (options.n, options.reward_threshold, options.exact) == (None, 0.7, False)
    (options,), _ = run("a", "--model", "m")
    assert (options.engine, options.n, options.exact, options.reward_threshold) == ({}, None, True, 0.5)


def test_a_command_refuses_what_its_class_refuses_and_what_is_missing():
    _, result = run("a", "--model", "m", "--n", "0")
    assert isinstance(result.exception, ConfigError) and "n = 0 cannot work" in str(result.exception)
    assert "Missing option '--model'" in run("a")[1].output


def test_the_help_of_a_command_shows_names_defaults_and_docstrings_by_panel():
    text = " ".join(run("--help")[1].output.split())
    for said in (
        "Draws.",
        "Files of queries.",
        "--reward-threshold,--threshold",
        "Correct iff greater. [default: 0.5]",
    ):
        assert said in text, said
    assert text.index("--exact") < text.index("─ Engine ─") < text.index("Folder or name. [required]")


def test_the_options_page_is_what_the_classes_say():
    docs = Path(__file__).parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("options_page", docs / "options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (docs / "options.md").read_text() == module.page(), "python docs/options.py > docs/options.md"


def test_every_command_names_a_function_that_is_there():
    for typed, (_, work) in COMMANDS.items():
        module, _, function = work.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), typed

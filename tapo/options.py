"""Options: a class of them is the one source of default, help and check, and commands are made from it."""

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from typing_extensions import Self

OptionsT = TypeVar("OptionsT", bound="Options")


class ConfigError(ValueError):
    """A setting that cannot work: names the key, the value and what is allowed."""

    def __init__(self, key: str, got: Any, allowed: str):
        super().__init__(f"{key} = {got!r} cannot work: {allowed}")
        self.key, self.got, self.allowed = key, got, allowed


def text_given(text: str | None, file: str | Path | None, check: Callable[[str], str], *, key: str) -> str | None:
    """What an option holds as text, or the UTF-8 file that the option `<key>_file` names; None without either.

    Args:
        check: returns the text, or raises ValueError.

    Raises:
        ConfigError: the file cannot be read, or `check` refuses the text.
    """
    if text is None and file is None:
        return None
    name, got = (key, text) if file is None else (f"{key}_file", str(file))
    try:
        return check(Path(file).expanduser().read_text(encoding="utf-8") if file else text or "")
    except (OSError, ValueError) as error:
        raise ConfigError(name, got, str(error)) from error


def Needs(words: str, fits: Callable[[Any], bool]) -> WrapValidator:
    """What a value has to be, in words and as a check: `Annotated[int, Needs("an integer >= 1", lambda n: n >= 1)]`."""

    def check(given: Any, validated: Callable[[Any], Any]) -> Any:
        value = validated(given)
        if not fits(value):
            raise ConfigError("", given, f"needs {words}")
        return value

    return WrapValidator(check)


AtLeastOne = Annotated[int, Needs("an integer >= 1", lambda number: number >= 1)]
AtLeastZero = Annotated[int, Needs("an integer >= 0", lambda number: number >= 0)]
NotNegative = Annotated[float, Needs("a number >= 0", lambda number: number >= 0)]
Share = Annotated[float, Needs("a share between 0 and 1", lambda share: 0 <= share <= 1)]


def key_values(pairs: Any) -> Any:
    """`KEY=VALUE` texts as a mapping, values as YAML reads them; a mapping stays what it is. A text that is none, or
    has a value that is no YAML, is a ConfigError."""
    if isinstance(pairs, Mapping):
        return pairs
    values = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise ConfigError("", pair, "needs KEY=VALUE")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError("", pair, f"needs a VALUE of YAML: {getattr(error, 'problem', error)}") from error
    return values


KeyValues = Annotated[dict[str, Any], BeforeValidator(key_values)]
"""On the command line a repeated KEY=VALUE."""


class Options(BaseModel):
    """Base of option classes: frozen, no other fields, types taken strictly (an integer passes as a number).

    The string under a field is its help. A class of several parts inherits from them; `part` gives one back.

    Raises:
        ConfigError: an unknown option, a wrong type or a value out of range; a validator of a subclass raises it with
            the key as the class itself names it, or "" in a validator of one field, any other ValueError as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, defer_build=True)

    panel: ClassVar[str | None] = None
    """Heading of the class's own options in the help of a command."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(error, type(self)) from None

    @classmethod
    def from_mapping(cls, values: Any) -> Self:
        """Read plain containers, such as a YAML file or OmegaConf gives; None stands for the defaults."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _config_error(error, cls) from None

    @classmethod
    def key(cls, path: str) -> str:
        """How messages name an option, given as `option` or `option.nested`."""
        return path

    # pydantic then builds nested classes without calling it, so that the outermost one names the whole key.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_defaults(cls, values: Any) -> Any:
        return {} if values is None else values

    @field_validator("*")
    @classmethod
    def _refuse_nan(cls, value: Any) -> Any:
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError("", value, "needs a value of type float")
        return value

    def only(self, base: type[OptionsT]) -> OptionsT:
        """The options of one of the classes that this one inherits from."""
        return base(**{name: getattr(self, name) for name in base.model_fields})

    def part(self, base: type["Options"]) -> dict[str, Any]:
        """The same as JSON holds them: for fingerprints."""
        return self.model_dump(mode="json", include=set(base.model_fields))


def _config_error(error: ValidationError, options: type[Options]) -> ValueError:
    """The first of pydantic's errors in our words."""
    first = error.errors(include_url=False)[0]
    path, got = list(first["loc"]), None if first["type"] == "missing" else first["input"]
    allowed = _allowed(first["type"], path, options)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ValueError) and not isinstance(cause, ConfigError):
        return cause  # with a sentence of its own
    if isinstance(cause, ConfigError):
        path, got, allowed = [*path, cause.key], cause.got, cause.allowed
    return ConfigError(options.key(".".join(str(part) for part in path if part != "")), got, allowed)


def _allowed(kind: str, path: list[Any], options: type[Options]) -> str:
    if kind in ("model_type", "model_attributes_type"):
        return "needs a mapping of options"
    field: FieldInfo | None = None
    known = options.model_fields
    for part in path:
        if part not in known:
            break
        field = known[part]
        known = getattr(field.annotation, "model_fields", {})
    if kind in ("extra_forbidden", "invalid_key"):
        return f"no such option, known are {', '.join(sorted(known))}"
    if kind == "missing":
        return "needs a value"
    plain = _plain(field.annotation) if field else None
    if kind == "literal_error":
        return f"allowed are {', '.join(map(str, get_args(plain)))}"
    return f"needs a value of type {type_name(plain)}"


def _plain(annotation: Any) -> Any:
    """A type without the metadata that is annotated to it or its parts."""
    return get_type_hints(SimpleNamespace(__annotations__={"annotation": annotation}))["annotation"]


def type_name(annotation: Any) -> str:
    """A type as errors and docs name it."""
    plain = _plain(annotation)
    if get_origin(plain) in (Union, UnionType):
        return " | ".join(map(type_name, get_args(plain)))
    if get_origin(plain) is Literal:
        return " | ".join(map(str, get_args(plain)))
    return "None" if plain is type(None) else getattr(plain, "__name__", str(plain))


def as_command(options: type[Options], work: Callable[[Any], None]) -> Callable[..., None]:
    """A function of the options of a class, which typer makes a command of; `work` is given the options.

    Help, flags, defaults and panels come from the class: `--key-words` for `key_words` (a `typer.Option` or
    `typer.Argument` in the field's metadata says otherwise), mappings as repeated KEY=VALUE.
    """

    def command(**given: Any) -> None:
        chosen = {name: value for name, value in given.items() if value is not None and value != []}
        work(options(**{name: tuple(v) if isinstance(v, list) else v for name, v in chosen.items()}))

    command.__doc__ = options.__doc__
    owners: dict[str, type[Options]] = {}  # of each option, a class's own before those that it inherits
    for owner in options.__mro__:
        for name in filter(options.model_fields.__contains__, vars(owner).get("__annotations__", {})):
            owners.setdefault(name, owner)
    parameters = [_parameter(owner, name, options.model_fields[name]) for name, owner in owners.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _parameter(owner: type[Options], name: str, field: FieldInfo) -> inspect.Parameter:
    import typer

    said = (data for data in field.metadata if isinstance(data, typer.models.ParameterInfo))
    shown = copy.copy(next(said, typer.Option()))
    shown.help = " ".join((field.description or "").split())
    shown.rich_help_panel = shown.rich_help_panel or vars(owner).get("panel")
    plain = given = _plain(field.annotation)
    if get_origin(plain) is tuple:
        given = list[get_args(plain)[0]]  # type: ignore[misc]
    elif get_origin(plain) is dict:
        given = list[str]
    default: Any = inspect.Parameter.empty
    if not field.is_required():
        default = field.default if given == plain else None
        given = given if default is not None else given | None
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=Annotated[given, shown])

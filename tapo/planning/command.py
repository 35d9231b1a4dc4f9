"""`tapo plan`: the plan of a launch line, printed."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from tapo.launch.line import compose_line
from tapo.planning.options import HardwareOptions, PlanOptions, PolicyOptions
from tapo.planning.plan import Plan, plan_of


def run_plan(given: PlanOptions, console: Console) -> None:
    """Compose the line and print what it will cost."""
    plan = plan_of(compose_line(given.line), given)
    spread = plan.layout
    console.print(
        f"{plan.model}: {plan.size.parameters / 1e9:.2f} billion parameters, {plan.size.active / 1e9:.2f} active. "
        f"{spread.trained_on} GPUs ({given.gpu}) train"
        + (f", {spread.rolled_out_on} others roll out" if spread.separate else " and roll out")
        + f", {spread.replicas} replicas of {spread.replica}.",
        highlight=False,
    )
    console.print("[bold]Calculated, not measured[/]: by the assumptions at the end.", highlight=False)
    for table in (token_table(plan), memory_table(plan), second_table(plan)):
        console.print(table)
    for warning in plan.warnings:
        console.print(f"[bold]![/] {warning}", highlight=False)
    console.print(f"Assumed: {assumptions(given)}.", highlight=False, markup=False)


def token_table(plan: Plan) -> Table:
    """Tokens of a step, and how long one sequence gets."""
    table = _table("tokens of a step", plan)
    rows = {
        "decoded": lambda one: one.decoded,
        "prefilled": lambda one: one.prefilled,
        "rows trained": lambda one: one.rows,
        "tokens trained": lambda one: one.trained,
    }
    for name, of in rows.items():
        _row(table, name, {run: of(tokens) for run, tokens in plan.tokens.items()}, "{:,.0f}")
    context = dict(zip(("GRPO", "TAPO"), plan.context, strict=True))
    _row(table, "longest sequence", {run: context[run] for run in plan.tokens}, "{:,.0f}")
    cached = dict(zip(("GRPO", "TAPO"), plan.cached, strict=True))
    _row(table, "of those in a replica's KV cache", {run: cached[run] for run in plan.tokens}, "{:,.1f}")
    return table


def memory_table(plan: Plan) -> Table:
    """Memory of a GPU by part."""
    table = Table(f"GiB of a GPU's {plan.gpu_gib:.0f}", "", title_justify="left")
    for (phase, peak), parts in zip(plan.peaks.items(), (plan.memory.training, plan.memory.rollout), strict=True):
        table.add_row(f"[bold]{phase}[/]", f"[bold]{peak:.1f}[/]")
        for name, gib in parts.items():
            table.add_row(f"  {name}", f"{gib:.1f}")
    return table


def second_table(plan: Plan) -> Table:
    """Seconds of a step by part, and hours of the run."""
    table = _table("seconds of a step", plan)
    for part in next(iter(plan.seconds.values())):
        _row(table, part, {run: seconds[part] for run, seconds in plan.seconds.items()}, "{:,.0f}")
    if plan.steps:
        hours = {run: seconds["step"] * plan.steps / 3600 for run, seconds in plan.seconds.items()}
        _row(table, f"hours of {plan.steps} steps, without validation", hours, "{:,.1f}")
    return table


def assumptions(given: PlanOptions) -> str:
    """What is assumed, as options."""
    names = [*HardwareOptions.model_fields, *PolicyOptions.model_fields]
    return ", ".join(f"--{name.replace('_', '-')} {getattr(given, name)}" for name in names)


def _table(name: str, plan: Plan) -> Table:
    table = Table(name, *plan.tokens, *(["TAPO / GRPO"] if len(plan.tokens) > 1 else []))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _row(table: Table, name: str, values: Mapping[str, float], form: str) -> None:
    numbers = list(values.values())
    ratio = [f"{numbers[1] / numbers[0]:.2f}" if numbers[0] else ""] if len(numbers) > 1 else []
    table.add_row(name, *(form.format(number) for number in numbers), *ratio)

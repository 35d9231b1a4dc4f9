"""What TAPO builds on in verl. These fail, they do not skip, when verl changes it."""

import ast
import importlib
import inspect
import sys
import textwrap
from pathlib import Path

import pytest
from verl.model_merger.base_model_merger import parse_args
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.trainer.ppo.v1.trainer_base import PPOTrainer

import tapo
from tapo.baselines.opsd import actor as opsd_actor
from tapo.baselines.opsd import trainers as opsd_trainers
from tapo.baselines.opsd.trainers import (
    OpsdTrainer,
    OpsdTrainerColocateAsync,
    OpsdTrainerSeparateAsync,
    OpsdTrainerSync,
)
from tapo.cold_start import sft_dataset
from tapo.core.phrases import load_detector
from tapo.evaluation import reward_manager
from tapo.evaluation.dumps import read_dump
from tapo.evaluation.inputs import resolve_checkpoint
from tapo.launch.contract import BESIDE_TRAINING, CONTRACT, breaches, check_contract
from tapo.launch.definitions import find, signature
from tapo.rollout import manager, worker
from tapo.rollout.worker import TapoAgentLoopWorker
from tapo.trainer import actor, trainers
from tapo.trainer.trainers import TapoTrainer, TapoTrainerColocateAsync, TapoTrainerSeparateAsync, TapoTrainerSync

ALL = {**CONTRACT, **BESIDE_TRAINING}
PACKAGE = Path(tapo.__file__).parent


@pytest.mark.parametrize("key", ALL)
def test_verl_has_what_is_overridden_or_called_as_we_override_and_call_it(key):
    assert list(breaches({key: ALL[key]})) == []


def test_a_run_checks_it():
    check_contract()


def runtime(key):
    module, name = key.split(":")
    value = importlib.import_module(module)
    for part in name.split("."):
        # Ray's actor classes hide the class underneath.
        value = getattr(getattr(value, "__ray_actor_class__", value), part)
    return value


@pytest.mark.parametrize("key", [key for key in ALL if inspect.isroutine(runtime(key))])
def test_the_parameters_read_from_the_source_are_those_at_run_time(key):
    found = inspect.signature(runtime(key)).parameters
    shapes = [(p.name, p.kind, p.default is not p.empty) for p in found.values() if p.name != "_ray_trace_ctx"]
    read = [(p.name, p.kind, p.default is not p.empty) for p in signature(find(*key.split(":"))).parameters.values()]
    assert read == shapes


def used_of_verl(path):
    """`module:name` of what a file imports from verl and TransferQueue, and of what it reads off their modules."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] not in ("verl", "transfer_queue"):
            continue
        for alias in node.names:
            if find(node.module, alias.name) is not None:
                yield f"{node.module}:{alias.name}"
            else:
                yield from (f"{node.module}.{alias.name}:{name}" for name in read_off(tree, alias.asname or alias.name))


def read_off(tree, name):
    """The attributes of a name that a file uses."""
    uses = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name))
    return {node.attr for node in uses if node.value.id == name}


def test_everything_that_is_imported_from_verl_is_in_the_contract():
    listed = {id(find(module, name.split(".")[0])) for module, _, name in (key.partition(":") for key in ALL)}
    used = {key for path in PACKAGE.rglob("*.py") for key in used_of_verl(path)}
    assert len(used) > 30
    assert [key for key in sorted(used) if id(find(*key.split(":"))) not in listed] == []


OURS = (trainers, actor, opsd_trainers, opsd_actor, manager, worker, reward_manager, sft_dataset)


def overrides():
    """(class of ours, class of verl's, method) wherever a method of ours takes the place of one of verl's."""
    classes = {cls for module in OURS for cls in vars(module).values() if inspect.isclass(cls)}
    for cls in sorted(classes, key=lambda cls: cls.__qualname__):
        ours = [base for base in cls.__mro__ if base.__module__.startswith("tapo.")]
        verls = [base for base in cls.__mro__ if base.__module__.startswith("verl.")]
        for name in {name for own in ours for name, value in vars(own).items() if inspect.isroutine(value)}:
            yield from ((cls, base, name) for base in [base for base in verls if name in vars(base)][:1])


def test_every_override_is_in_the_contract():
    listed = {id(find(*key.split(":"))) for key in ALL}
    found = set(overrides())
    assert len(found) > 20
    missing = {
        f"{cls.__qualname__} -> {base.__module__}:{base.__qualname__}.{name}"
        for cls, base, name in found
        if id(find(base.__module__, f"{base.__qualname__}.{name}")) not in listed
    }
    assert sorted(missing) == []


def test_the_trainer_modes_and_the_estimator_are_registered():
    assert get_trainer_cls("tapo_sync") is TapoTrainerSync
    assert get_trainer_cls("tapo_colocate_async") is TapoTrainerColocateAsync
    assert get_trainer_cls("tapo_separate_async") is TapoTrainerSeparateAsync
    assert get_trainer_cls("opsd_sync") is OpsdTrainerSync
    assert get_trainer_cls("opsd_colocate_async") is OpsdTrainerColocateAsync
    assert get_trainer_cls("opsd_separate_async") is OpsdTrainerSeparateAsync
    assert core_algos.get_adv_estimator_fn("tapo").__module__ == "tapo.trainer.estimator"


@pytest.mark.parametrize("cls", [TapoTrainer, OpsdTrainer, TapoAgentLoopWorker])
def test_no_override_is_longer_than_forty_lines(cls):
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert max(lengths.values()) <= 40, lengths


def test_the_report_reads_what_verls_validation_writes(tmp_path):
    extra = {"reward": [1.0, 0.0], "acc": [1.0, float("nan")], "pred": ["7", ""], "uid": ["ab-c_0_0", "ab-c_1_0"]}
    texts = {"inputs": ["naïve?"] * 2, "outputs": ["\\boxed{7}", "none"], "gts": ["7"] * 2, "scores": [1.0, 0.0]}
    dumped = {"reward_extra_infos_dict": extra, "dump_path": str(tmp_path), "global_steps": 3}
    PPOTrainer._write_generations(**texts, **dumped)
    dump = read_dump(tmp_path / "3.jsonl", load_detector())
    assert dump.benchmarks[None].correct.tolist() == [True]
    assert dump.notes == ("rows without a finite acc left out: 1",)


def test_verls_merger_knows_the_arguments_that_shards_are_merged_with(tmp_path, monkeypatch):
    (tmp_path / "actor").mkdir()
    (tmp_path / "actor" / "fsdp_config.json").write_text("{}")
    checkpoint = resolve_checkpoint(str(tmp_path), tmp_path / "merged")
    monkeypatch.setattr(sys, "argv", ["model_merger", *checkpoint.merge])
    parsed = parse_args()
    assert (parsed.operation, parsed.backend) == ("merge", "fsdp")
    assert (parsed.local_dir, parsed.target_dir) == (str(tmp_path / "actor"), str(tmp_path / "merged"))

"""verl's agent-loop worker with construction: a group's trajectories are built when its last session settles."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig
from verl.experimental.agent_loop import AgentLoopOutput
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ

from tapo import transfer
from tapo.config import read_tapo_config
from tapo.core.asking import TokenBudget
from tapo.core.check import FunctionCheck
from tapo.core.groups import REF_TAG, REPORT_TAG, ref_group
from tapo.core.phrases import load_detector
from tapo.core.token_lengths import token_lengths
from tapo.core.tokens import response_text, turn_end_ids
from tapo.functions import function_given
from tapo.launch.context import construction_max_tokens
from tapo.records import ConstructionRecord, RecordWriter
from tapo.rollout.abort import aborting
from tapo.rollout.construction import Construction, GroupConstructor
from tapo.rollout.deadline import Deadline
from tapo.rollout.group import Group, Judge
from tapo.rollout.group_report import GroupReport
from tapo.rollout.texts import answer_tokens

logger = logging.getLogger(__name__)

# verl exports the Ray actor class; the class underneath is what can be extended.
_AgentLoopWorkerTQ = AgentLoopWorkerTQ.__ray_actor_class__


class TapoAgentLoopWorker(_AgentLoopWorkerTQ):
    """Publishes constructed rows beside their group, before verl publishes the group itself.

    verl marks a prompt as finished only after every session has settled. The session that settles last runs the
    group's constructions before it returns, so early groups construct while others still generate.
    """

    def __init__(self, config: DictConfig, *args: Any, **kwargs: Any):
        super().__init__(config, *args, **kwargs)
        self._tapo = read_tapo_config(config)
        rollout = config.actor_rollout_ref.rollout
        meant = (self._tapo.reward_threshold, self._tapo.correct_key)
        self._judge = Judge(*meant, rollout.response_length, turn_end_ids(self.tokenizer))
        self._groups: dict[str, Group] = {}
        self._warned: set[str] = set()
        self._detector = load_detector()
        self._deadline = Deadline(self._tapo.construction.deadline)
        self._dump = RecordWriter(self._tapo.dump_dir, ConstructionRecord)
        self._constructor = GroupConstructor(
            self._tapo,
            self.tokenizer,
            # Looked up at each call: whoever replaces the worker's client replaces it here too.
            generate=lambda **request: aborting(self.llm_client).generate(**request),
            score=self._score,
            budget=TokenBudget(
                response_length=rollout.response_length,
                max_model_len=rollout.max_model_len or rollout.prompt_length + rollout.response_length,
                answer=construction_max_tokens(self._tapo, rollout.response_length),
            ),
            chat_template_kwargs=config.data.get("apply_chat_template_kwargs", {}),
            # Others serve without a tokenizer, and cannot.
            stops_at_text=rollout.name == "vllm",
            deadline=self._deadline,
            check=self._check(),
        )
        self._samples = self._tapo.construction.samples

    def _check(self) -> FunctionCheck | None:
        """The run's check, loaded where the worker starts: a node that lacks its file stops the run there."""
        given = self._tapo.construction
        if given.check is None or not self._tapo.enable:
            return None
        function = function_given(given.check, key=self._tapo.key("construction.check"))
        return FunctionCheck(function, timeout_s=given.timeout_s)

    async def stay(self) -> None:
        """Never answers: what waits for it learns that this process is gone."""
        await asyncio.Event().wait()

    async def _run_prompt(self, prompt: dict, sampling_params: dict, trajectory: dict, trace: bool = False) -> None:
        if trajectory["validate"] or not self._tapo.enable:
            return await super()._run_prompt(prompt, sampling_params, trajectory=trajectory, trace=trace)
        size = int(prompt.get("__rollout_n__", self.config.actor_rollout_ref.rollout.n))
        uid = prompt["uid"]
        self._groups[uid] = Group(uid, size, sampling_params, self._judge)
        try:
            await super()._run_prompt(prompt, sampling_params, trajectory=trajectory, trace=trace)
        finally:
            del self._groups[uid]

    async def _run_agent_loop(self, sampling_params: dict, trajectory: dict, **kwargs: Any) -> None:
        group = self._groups.get(kwargs["uid"])
        if group is None:
            return await super()._run_agent_loop(sampling_params, trajectory=trajectory, **kwargs)
        self._deadline.begin()
        try:
            await super()._run_agent_loop(sampling_params, trajectory=trajectory, **kwargs)
        finally:
            self._deadline.settle()
            if group.settle():
                await self._construct(group, step=int(kwargs["global_steps"]))

    async def _agent_loop_postprocess(
        self, output: AgentLoopOutput | list[AgentLoopOutput], validate: bool, **kwargs: Any
    ) -> None:
        await super()._agent_loop_postprocess(output, validate, **kwargs)
        group = self._groups.get(kwargs["uid"])
        if group is not None:
            group.add(kwargs["session_id"], output, kwargs)

    async def _construct(self, group: Group, step: int) -> None:
        """Build, publish and report. Whatever fails is counted, and costs the group none of its rollouts."""
        report = GroupReport()
        started = time.perf_counter()
        try:
            await self._build_and_publish(group, step, report)
        except Exception:
            logger.exception("the constructions of group %s failed", group.uid)
            report.rejected["error"] += 1
        report.construct_s = time.perf_counter() - started
        if group.first_session is not None:
            await self._report(group, report)

    async def _report(self, group: Group, report: GroupReport) -> None:
        """Put the group's counts beside its first row."""
        try:
            await transfer.tag_row(f"{group.uid}_{group.first_session}_0", {REPORT_TAG: report.to_tag()})
        except Exception:
            # Its rows are there and are trained; that it is in no metric shows as a group less in tapo/groups/total.
            logger.exception("the counts of group %s are lost", group.uid)

    async def _build_and_publish(self, group: Group, step: int, report: GroupReport) -> None:
        report.unsupported, report.usable = int(bool(group.left_alone)), int(bool(group.rollouts))
        report.left_alone = group.left_alone
        self._look_at(group, report)
        self._warn_once(group.left_alone)
        pairs = [] if self._filtered(group) else self._constructor.candidates(group, step)
        report.eligible = int(bool(pairs))
        first_ids = range(group.size, group.size + len(pairs) * self._samples, self._samples)
        several = await asyncio.gather(
            *(
                self._constructor.construct(group, *pair, session_id, self._publish)
                for pair, session_id in zip(pairs, first_ids, strict=True)
            )
        )
        constructions = [construction for of_pair in several for construction in of_pair]
        records = [self._record(construction, step) for construction in constructions]
        for construction, record in zip(constructions, records, strict=True):
            report.count(record, closed=construction.attempt.closed)
        # Behind the counts: a full disk loses lines of the dump, and no row that was published.
        for record in records:
            self._dump.write(record)
        report.dump_lost = self._dump.take_lost()

    def _look_at(self, group: Group, report: GroupReport) -> None:
        for rollout in group.rollouts:
            text = response_text(rollout.output.response_ids, self.tokenizer)[1]
            info = rollout.output.extra_fields.get("reward_extra_info") or {}
            reflects = self._detector.reflects(text)
            group.reflects_rightly |= reflects and rollout.correctness > self._judge.reward_threshold
            report.look_at(reflects=reflects, reward_info=info)

    def _filtered(self, group: Group) -> bool:
        """Whether DAPO's filter drops the group for a metric that is the same in all its rollouts, as GRPO's would.

        The filter reads every row of a query. Rewards differ in any eligible group; another metric need not, and
        constructed rows must not bring the difference.
        """
        filter_groups = self.config.algorithm.get("filter_groups", None)
        if not filter_groups or not filter_groups.get("enable", False) or filter_groups.metric == "reward":
            return False
        infos = [rollout.output.extra_fields.get("reward_extra_info", {}) for rollout in group.rollouts]
        return len({info.get(filter_groups.metric) for info in infos}) == 1

    def _warn_once(self, reasons: Iterable[str]) -> None:
        for reason in set(reasons) - self._warned:
            self._warned.add(reason)
            logger.warning("TAPO leaves sessions alone: %s. They train as without it (tapo/groups/unsupported)", reason)

    async def _publish(self, construction: Construction) -> None:
        """Put a constructed row beside its group, as verl puts a session's output."""
        assert construction.output is not None and construction.attempt.spliced is not None
        uid, key = construction.group.uid, construction.key
        fields = {**construction.wrong.fields, "uid": ref_group(uid), "session_id": construction.session_id}
        source_key = f"{uid}_{construction.wrong.session_id}_0"
        spliced = construction.attempt.spliced
        answer_begin, answer_length = answer_tokens(spliced, self.tokenizer)
        tag = {
            "source_key": source_key,
            "prefix_length": spliced.prefix_length,
            "reflection_length": spliced.reflection_length,
            "answer_begin": answer_begin,
            "answer_length": answer_length,
        }
        published = False
        try:
            # The tag goes first: a row without it would pass for a rollout.
            await transfer.tag_row(key, {REF_TAG: tag})
            await super()._agent_loop_postprocess(construction.output, False, **fields)
            published = True
        finally:
            # Whatever came in between, a cancelled session included: half a row is none that can be trained.
            if not published:
                await transfer.delete_row(key)

    async def _score(self, output: AgentLoopOutput, fields: Mapping[str, Any]) -> None:
        await self._compute_score([output], kwargs=fields)
        assert output.reward_score is not None
        # Reward functions may return numpy scalars, which the dump's JSON does not know.
        output.reward_score = float(output.reward_score)

    def _record(self, construction: Construction, step: int) -> ConstructionRecord:
        """What the dump says of a construction; without a dump, no token ids."""
        attempt, spliced = construction.attempt, construction.attempt.spliced
        uid, key = construction.group.uid, construction.key
        record = ConstructionRecord.of(attempt, step=step, uid=uid, key=key, keep_prefix=self._tapo.keep_prefix)
        if self._dump.path is None:
            return record
        ids: dict[str, Any] = {"wrong_ids": list(attempt.candidate.wrong.ids)}
        if spliced:
            ids |= {"ids": spliced.ids, "token_lengths": token_lengths(spliced.ids, spliced.text, self.tokenizer)}
        return record.model_copy(update=ids)

"""The training loop: every step a function of seed and step, in one process or many, safe to kill at any time."""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from ..config import config_to_dict
from ..dataset.cached import CachedDataset
from ..dataset.joined import JoinedDataset, open_prepared
from ..dataset.models import load_vae
from ..errors import SlotIDError
from ..files import disk_errors
from ..folder_lock import only_run_in
from ..interrupts import stop_signals
from ..precision import fast_autocast
from ..systems.contract import AnyBatch, Batch
from ..systems.registry import strategy_of
from ..wan import WanModel
from ..wan.guidance import Predict, sample_guided
from ..wan.text_encoder import pad_text
from .backbone import load_backbone
from .batches import Batches, check_faces, given_tensors
from .block_swap import BlockPart, BlockSwap
from .checkpoint import checkpoints, latest_checkpoint, newest_step, save_checkpoint
from .config import TrainingConfig, config_to_json
from .events import Events
from .experts import Experts
from .mix import cut_into, mix_of
from .noise import NoiseLevels
from .optimizer import learning_rate, new_optimizer, trainable
from .optimizer_kinds import ADAMW, averaged, check_kind, restore_state, state_tensors
from .processes import (
    Processes,
    distribute,
    gather_full,
    joined_processes,
    lost_processes,
    scatter_into,
    share_sequences,
    unsharded,
    with_teams,
)
from .resume import check_settings, fingerprints
from .samples import at_strength, prompts_of_sheets, sheet_of_pairs
from .stall import ReadAhead, StallWatch
from .validation import Check, validate, validation_checks

SHEET_ROWS = 4
COMPILER = "inductor"  # of `torch.compile`
logger = logging.getLogger(__name__)


def train(
    config: TrainingConfig,
    folder: Path,
    resume: bool = False,
    as_json: bool = False,
    changed: Sequence[str] = (),
    track: Sequence[str] = (),
) -> Path | None:
    """Train to the end, or to a signal; returns the adapter file if the end was reached.

    Args:
        changed: with `resume`, names of settings that are meant to be others than those the run was begun with.
        track: names of `trackers`.

    Raises:
        SlotIDError: a setting, a file, a tracker or the data is wrong, the loss stopped being a number, another run is
            at work in `folder`, the disk is full, or another process of this run has ended.
    """
    with (
        joined_processes() as processes,
        # One run, however many processes it has: the first holds the folder for all.
        only_run_in(folder) if processes.is_first else nullcontext(),
        disk_errors(folder, only_full=True),
        lost_processes(processes),
    ):
        return Trainer(config, folder, processes).run(resume, as_json, changed, track)


class Trainer:
    """A run: its modules, optimiser and data, and the steps over them."""

    def __init__(self, config: TrainingConfig, folder: Path, processes: Processes):
        run = config.run
        processes = with_teams(processes, run)
        check_kind(config, processes.count)
        self.folder, self.processes, self.given_adapter = folder, processes, config.adapter
        self.prompts: list[Tensor] = []  # of sheets, where they are not held-out captions
        self.data = open_prepared(config.data.train, config.data.more)
        self.held_out = CachedDataset(Path(config.data.validation)) if config.data.validation else None
        system = strategy_of(config.system)
        members = self.data.members if isinstance(self.data, JoinedDataset) else [self.data]
        for data in members:
            check_faces(config.objective, data.manifest["config"], data.folder)
        for data in members if self.held_out is None else [*members, self.held_out]:
            settings = system.settings_for_data(config.adapter, data.manifest["config"], data.folder)
            config = replace(config, adapter=settings)
        self.config = config
        torch.manual_seed(run.seed)
        strategy = system(config.strategy_settings(self.data.manifest["config"]), load_backbone(config.model))
        assert isinstance(strategy, nn.Module)  # as `contract.Strategy` says, which a Protocol cannot express
        self.strategy = strategy
        self.levels = noise_levels(config)
        other = self.second_expert()
        for model in (self.strategy.model, other):
            if model is not None:
                share_sequences(model, processes)
        self.block_swap = self.swapped(config.model.swapped_blocks)
        if self.block_swap is not None and other is not None:
            self.block_swap.add(other)
        if config.model.compile:
            compile_blocks(self.strategy.model, *([other] if other is not None else []))
        self.model = distribute(self.strategy, self.strategy.shards(), run.distribution, processes)
        self.experts = Experts(self.strategy.model, other, self.levels, self.block_swap) if other is not None else None
        self.trainable = trainable(self.strategy)
        self.optimizer = new_optimizer(self.strategy, self.trainable, config.optimizer)
        self.ema = {name: p.detach().clone() for name, p in self.trainable.items()} if run.ema_decay else {}
        self.batches = Batches(
            self.data, config.objective, config.data.pairing, run.batch, run.seed, self.strategy.required_tensors,
            self.strategy.text_rows, self.strategy.draw,
            (*getattr(strategy, "target_tensors", ()), *given_tensors(self.strategy.model)),
            mix_of(config, strategy), getattr(strategy, "frame_axes", {}), getattr(strategy, "augmented_tensors", {}),
            self.levels,
        )  # fmt: skip
        self.facts = {
            "training_config": config_to_dict(config),
            "config_hash": hashlib.sha256(config_to_json(config).encode()).hexdigest()[:16],
            "data_manifest": self.data.manifest_hash,
            "files": fingerprints(config),
        }

    def second_expert(self) -> WanModel | None:
        """The low-noise expert, on the CPU."""
        path = self.config.model.low_noise_path
        return load_backbone(replace(self.config.model, path=path)) if path else None

    def swapped(self, count: int) -> BlockSwap | None:
        """What brings `count` blocks of the backbone to the device for each pass."""
        if not count:
            return None
        processes = self.processes
        shared_out = processes.count > 1 and self.config.run.distribution == "fsdp"
        part = BlockPart(processes.rank, processes.count) if shared_out else BlockPart()
        return BlockSwap(self.strategy.model, count, processes.device, part)

    def run(self, resume: bool, as_json: bool, changed: Sequence[str] = (), track: Sequence[str] = ()) -> Path | None:
        if not resume and checkpoints(self.folder):
            raise SlotIDError(f"{self.folder} holds checkpoints. Add --resume to go on, or give another folder.")
        step = self.restore(changed) if resume else 0
        run = self.config.run
        settings = config_to_dict(self.config) if track else {}
        self.events = Events(self.folder, run.steps, as_json, self.processes.is_first, step, track, settings)
        if run.sample_every and self.held_out is not None:
            self.prompts = prompts_of_sheets(run.sample_prompts, self.held_out.manifest["config"], self.processes)
        checks = self.validation_data()
        rows = self.processes.share(run.batch)
        reading = ReadAhead(lambda number: self.batches.rows(number, rows), run.steps)
        with stop_signals() as stopping, StallWatch(run.stalled_after, self.stalled) as watch, reading as reader:
            mean_loss = None
            while step < run.steps:
                of = f"step {step}"
                with watch.during("reading the samples", of):
                    batch = reader.result(step, stopping)
                started = time.perf_counter()
                with watch.during("computing, or the other processes' part,", of):
                    figures, stop = self.step(step, batch, bool(stopping))
                figures["seconds"] = time.perf_counter() - started
                mean_loss = self.check(step, figures, mean_loss)
                step += 1
                self.events.step(step - 1, figures)
                if run.validate_every and step % run.validate_every == 0 and checks:
                    with watch.during("validation", of):
                        self.validate(step, checks)
                if step % run.save_every == 0 or step == run.steps or stop:
                    with watch.during("saving", of):
                        self.save(step)
                if run.sample_every and step % run.sample_every == 0 and self.held_out is not None and not stop:
                    with watch.during("drawing samples", of):
                        self.sample(step, self.held_out)
                if stop:
                    self.events.say("stopped", step=step)
                    self.events.close()
                    return None
        path = self.export(step)
        self.events.say("finished", adapter=str(path), steps=step)
        self.events.close("finished")
        return path

    def stalled(self, what: str, seconds: float) -> None:
        """Every process says what it waits for, as it may wait for another one."""
        if self.processes.is_first:
            self.events.say("stalled", waiting_for=what, seconds=round(seconds, 1))
        else:
            logger.warning("Process %d has waited for %.0f seconds for %s.", self.processes.rank, seconds, what)

    def parts(self, batch: AnyBatch) -> Sequence[AnyBatch]:
        """What this process holds at once, one after the other."""
        if isinstance(batch, Batch):
            return batch.split(self.config.run.micro_batch)
        packs = batch.split(self.config.run.pack_tokens, getattr(self.strategy, "appended_frames", 0))
        # Sharded processes gather weights for each pass together, so all take as many.
        return cut_into(packs, self.processes.largest(len(packs)))

    def step(self, step: int, batch: AnyBatch, stopping: bool) -> tuple[dict[str, float], bool]:
        """One optimiser step over this process's rows.

        Returns:
            metrics, and whether any process has received a stop signal.
        """
        config = self.config
        torch.manual_seed(hash((config.run.seed, step)) % 2**63)
        self.strategy.at_step(step)
        if self.experts is not None:
            self.experts.use(self.levels.expert(step))
        rate = learning_rate(config.optimizer, step, config.run.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.processes.device)
        parts = self.parts(batch)
        for number, part in enumerate(parts):
            with self.synchronized(number == len(parts) - 1), self.autocast():
                losses = self.model(part.to(self.processes.device))
                loss = losses.sum() / len(batch)
            loss.backward()
            total += loss.detach()
        means = self.processes.mean(torch.stack([total, torch.tensor(float(stopping), device=total.device)]))
        loss = means[0].item()
        norm = nn.utils.clip_grad_norm_(self.trainable.values(), config.optimizer.max_grad_norm)
        norm = float(gather_full(norm))
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            self.update_ema(step)
        return {"loss": loss, "gradient_norm": norm, "learning_rate": rate}, means[1].item() > 0

    def check(self, step: int, figures: dict[str, float], mean: float | None) -> float:
        """The running mean of the loss.

        Raises:
            SlotIDError: the loss or the gradient is not a number, or the loss jumped.
        """
        loss, limit = figures["loss"], self.config.run.loss_spike_factor
        finite = math.isfinite(loss) and math.isfinite(figures["gradient_norm"])
        if not finite or (mean is not None and loss > limit * mean):
            good = newest_step(self.folder)
            kept = f"The last good checkpoint is of step {good}" if good is not None else "There is no checkpoint yet"
            what = f"{limit:g} times its running mean" if finite else "not finite, or its gradient is not"
            self.events.close(f"ended, as the loss is {what}")
            raise SlotIDError(
                f"At step {step} the loss is {loss:.4g}, {what}. {kept}; nothing was saved after it. Lower "
                "optimizer.learning_rate or raise optimizer.warmup_steps, then start anew in another folder, or go on "
                "with --resume --changed optimizer.learning_rate --changed optimizer.warmup_steps."
            )
        return loss if mean is None else 0.98 * mean + 0.02 * loss

    def update_ema(self, step: int) -> None:
        if self.ema:
            weight = 1 - min(self.config.run.ema_decay, (step + 1) / (step + 10))
            with torch.no_grad():
                for name, parameter in self.trainable.items():
                    self.ema[name].lerp_(parameter.detach(), weight)

    def validation_data(self) -> list[Check]:
        if self.held_out is None:
            return []
        run = self.config.run
        return self.checks(self.held_out, run.validation_samples, run.micro_batch, self.processes)

    def checks(self, held_out: CachedDataset, count: int, size: int, processes: Processes | None = None) -> list[Check]:
        return validation_checks(held_out, count, size, self.strategy, self.config.data.pairing, processes, self.levels)

    def validate(self, step: int, checks: list[Check]) -> None:
        with self.ema_weights(), self.autocast():
            figures = validate(self.model, checks, self.processes, self.strategy, self.put_expert_of)
        self.events.validation(step, figures)
        self.events.picture()

    def put_expert_of(self, check: Check) -> None:
        if self.experts is not None:
            self.experts.use(self.levels.expert_of(float(check.batch.noise_level[0])))

    def predictor(self, batch: Batch) -> Predict:
        """The prediction for the people of a batch from its video's channels, by the expert of each noise level."""
        predict = self.strategy.predictor(batch)
        start = batch.start
        if start is not None:
            inner = predict

            def predict(noisy: Tensor, noise_level: Tensor, context: Tensor, strength: Tensor | None) -> Tensor:
                return inner(torch.cat([noisy, start.to(noisy)], dim=1), noise_level, context, strength)

        return predict if self.experts is None else self.experts.following(predict)

    def sample(self, step: int, held_out: CachedDataset) -> None:
        """A sheet of held-out identities, the same at every call: the reference clip, and a generated clip."""
        batch = self.sheet_rows(held_out).to(self.processes.device)
        with torch.no_grad(), self.ema_weights(), self.autocast(), unsharded(self.strategy):
            empty_text = held_out.read(0, ("empty_text",))["empty_text"]
            context = batch.context
            if self.prompts:
                chosen = [self.prompts[row % len(self.prompts)] for row in range(len(batch))]
                context = pad_text(chosen, room=self.strategy.text_rows).to(context)
            latents = [
                sample_guided(at_strength(self.predictor(batch), strength), batch.noise, context, empty_text)
                for strength in (1.0, *self.config.run.sample_strengths)
            ]
        if self.processes.is_first:
            path = self.folder / f"samples_{step:08d}.png"
            shown = batch.conditions.get(self.strategy.shown_tensor, batch.video)
            try:
                vae = load_vae(self.config.run.vae or held_out.manifest["config"]["vae"])
                sheet_of_pairs(vae.to(self.processes.device), shown, latents, path)
            except (SlotIDError, RuntimeError, OSError) as error:  # no room for the VAE beside a run of days, say
                self.events.say("no samples", step=step, reason=str(error))
            else:
                self.events.say("samples", path=str(path), step=step)
            self.events.picture()

    def sheet_rows(self, held_out: CachedDataset) -> Batch:
        """As many held-out samples as a sheet shows, of any noise level: sampling starts from noise alone."""
        pairing = self.config.data.pairing
        return validation_checks(held_out, SHEET_ROWS, SHEET_ROWS, self.strategy, pairing)[0].batch

    def state(self) -> dict[str, Tensor]:
        tensors = {f"trainable.{name}": gather_full(parameter) for name, parameter in self.trainable.items()}
        tensors |= {f"average.{name}": gather_full(value) for name, value in self.ema.items()}
        if self.config.optimizer.kind != ADAMW:
            return tensors | state_tensors(self.optimizer, self.trainable)
        for name, parameter in self.trainable.items():
            for moment in ("exp_avg", "exp_avg_sq"):
                if parameter in self.optimizer.state:
                    tensors[f"{moment}.{name}"] = gather_full(self.optimizer.state[parameter][moment])
        return tensors

    def save(self, step: int) -> None:
        tensors = self.state()  # every process takes part in gathering
        if self.processes.is_first:
            path = save_checkpoint(self.folder, step, tensors, self.facts, self.config.run.keep_last)
            picture = self.events.picture()
            self.events.say("saved", path=str(path), step=step, picture=str(picture))

    def restore(self, changed: Sequence[str] = ()) -> int:
        """Put the newest readable checkpoint into place; returns its step, 0 without one.

        Args:
            changed: names of settings that are meant to be others than the checkpoint's.
        """
        found = latest_checkpoint(self.folder)
        if not self.processes.agree(found[1]["step"] if found else 0):
            raise SlotIDError(
                f"Not every process finds the same checkpoint in {self.folder}. All nodes must share this folder, and "
                "none of its files may be damaged."
            )
        if found is None:
            return 0
        tensors, header = found
        if header["data_manifest"] != self.facts["data_manifest"]:
            raise SlotIDError(
                f"The checkpoint was trained on other data ({header['data_manifest']}; here is "
                f"{self.facts['data_manifest']}). Give the same folder, or train into a new one."
            )
        changes = check_settings(header, self.config, self.given_adapter, self.facts["files"], changed, self.folder)
        self.facts |= {"changes": changes} if changes else {}
        try:
            for name, parameter in self.trainable.items():
                scatter_into(parameter, tensors[f"trainable.{name}"])
                if self.ema:
                    scatter_into(self.ema[name], tensors[f"average.{name}"])
                if self.config.optimizer.kind != ADAMW:
                    continue
                moments = {moment: torch.zeros_like(parameter) for moment in ("exp_avg", "exp_avg_sq")}
                for moment, value in moments.items():
                    scatter_into(value, tensors[f"{moment}.{name}"])
                self.optimizer.state[parameter] = {"step": torch.tensor(float(header["step"])), **moments}
            if self.config.optimizer.kind != ADAMW and header["step"]:
                restore_state(self.optimizer, self.trainable, tensors, header["step"], scatter_into)
        except (KeyError, RuntimeError) as error:
            raise SlotIDError(
                f"The checkpoint in {self.folder} is of a run with other modules ({error}). Use its configuration, or "
                "train into a new folder."
            ) from error
        return header["step"]

    def export(self, step: int) -> Path:
        self.strategy.at_step(max(0, step - 1))  # a run resumed at its end has taken no step
        with averaged(self.optimizer, self.trainable):
            source = self.ema or self.trainable
            tensors = {name: gather_full(value).clone() for name, value in source.items()}
        path = self.folder / "adapter.safetensors"
        if self.processes.is_first:
            self.strategy.export(path, tensors, {**self.facts, "steps": step})
        return path

    @contextmanager
    def ema_weights(self):
        """Within this context the trained weights are replaced by their average, exponential or the optimiser's."""
        if not self.ema:
            with averaged(self.optimizer, self.trainable):
                yield
            return
        kept = {name: parameter.detach().clone() for name, parameter in self.trainable.items()}
        self.swap(self.ema)
        try:
            yield
        finally:
            self.swap(kept)

    @torch.no_grad()
    def swap(self, values: dict[str, Tensor]) -> None:
        """Write `values` into the trained parameters, by name."""
        for name, parameter in self.trainable.items():
            parameter.copy_(values[name])

    def autocast(self):
        return fast_autocast(self.processes.device, self.config.model.compute_dtype == "bfloat16")

    def synchronized(self, last: bool):
        """Average gradients over processes after the last part only."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(last)
        elif not last and isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return nullcontext()


def compile_blocks(*models: WanModel) -> None:
    """Compile every block, in place, one for all of its kind: names of parameters stay."""
    for model in models:
        for block in model.blocks:
            block.compile(backend=COMPILER)


def noise_levels(config: TrainingConfig) -> NoiseLevels:
    """How a run draws its noise levels."""
    model, run, objective = config.model, config.run, config.objective
    boundary = model.boundary if model.low_noise_path else 0.0
    return NoiseLevels(
        objective.timestep_shift, run.batch, run.seed, boundary, model.expert_steps, objective.stratified
    )

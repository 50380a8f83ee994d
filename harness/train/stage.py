"""The train stage of a cell: from a subject to a final checkpoint, resumable at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.files import discard, make_folder, remove_leftovers
from headbench.harness.options import Execution
from headbench.harness.stage import Stage, StageWork
from headbench.harness.train.log import Progress
from headbench.harness.train.setup import frame_store, make_trainer, prepare
from headbench.harness.train.training import Training, take_up, tell
from headbench.harness.trained import SUMMARY, TrainSummary, checkpoint_fault, read_summary, remove_damaged
from headbench.harness.types import Subject

__all__ = ["TrainStage", "train_stage"]


class TrainStage(Stage):
    """The stage ``train``, the root that every method has: it trains the method's avatar."""

    config_type = MethodConfig

    def run(self, work: StageWork) -> None:
        """Train the method's avatar, going on from the newest whole checkpoint; saves portrait and summary itself."""
        train_stage(work.folder, work.about, work.portrait_type, work.config, work.subject, work.options, work.progress)


def train_stage(
    stage: Path,
    about: Mapping[str, str],
    portrait_type: type[Portrait],
    config: MethodConfig,
    subject: Subject,
    options: Execution,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train one portrait, going on from the newest whole checkpoint in `stage`; return at once if it is finished.

    A checkpoint whose files are not as they were written is removed, and the summary's notes say so.

    Args:
        stage: folder of the stage instance; checkpoints, metrics.jsonl, previews and summary.json appear in it.
        about: method, preset, variant, dataset, subject; saved in every checkpoint.
        portrait_type: the method's class.
        config: the method's configuration.
        subject: only its training frames are read.
        options: device, back end, seed, intervals of log, previews and checkpoints.
        progress: receives each line of the log, a note per checkpoint that was lost, and which part of the training
            begins: prepare, steps or save; None: nobody watches.

    Returns:
        the summary that ``summary.json`` holds.

    Raises:
        BenchError: a loss is not finite, or a checkpoint does not fit.
        MissingAsset: the subject's head model is not registered.
    """
    remove_leftovers(stage)
    saved = read_summary(stage)
    if saved is not None and not checkpoint_fault(stage / f"checkpoint-{saved.steps}"):
        remove_damaged(stage, all_of_them=True)
        return saved
    discard(stage / SUMMARY)
    make_folder(stage)
    tell(progress, "prepare")
    resumed, lost = take_up(stage, about, progress)
    method = about["method"]
    # First of all, so that frames are decoded while the portrait is made.
    store = frame_store(config, subject, options) if issubclass(portrait_type, Avatar) else None
    try:
        parts = prepare(portrait_type, config, subject, options, str(stage / "scratch"))
        run = Training(stage, about, parts, options, f"method:{method}", notes=lost)
        if store is not None and isinstance(avatar := parts.portrait, Avatar):
            run.train(avatar, store, lambda _: make_trainer(parts, avatar, store, options, method), resumed, progress)
        elif resumed is not None:
            run.restore_model(resumed)
        else:
            run.save(0, {})
    finally:
        if store is not None:
            store.close()
    return run.finish((*parts.notes, *subject.notes))

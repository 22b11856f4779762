"""ComfyUI's progress bar and stop button, in the form that the core's long work takes."""

import comfy.model_management
import comfy.utils


def stop_if_interrupted() -> None:
    """For work that reports no progress."""
    comfy.model_management.throw_exception_if_processing_interrupted()


def progress_bar():
    """A callback (done, total) that moves ComfyUI's progress bar and stops at once when the queue is interrupted."""
    bar = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or comfy.utils.ProgressBar(total)
        stop_if_interrupted()
        bar.update_absolute(done, total)

    return report

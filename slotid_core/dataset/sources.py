"""Which clips there are, what makes their pictures, and how they are divided into shards."""

from dataclasses import dataclass

from ..errors import SlotIDError
from .clip import Clip
from .config import ConsisIDSource, PrepareConfig, ToyWorldSource
from .source import Source


@dataclass(frozen=True)
class ShardPlan:
    number: int
    clips: tuple[Clip, ...]


def open_source(config: PrepareConfig) -> Source:
    """What makes pictures of the clips that `list_clips` lists."""
    if config.toy_world:
        from .drawn_clips import DrawnClips

        return DrawnClips(config)
    from .real_clips import RealClips

    return RealClips(config)


def list_clips(config: PrepareConfig) -> list[Clip]:
    """The source's clips in the order of their keys.

    Raises:
        SlotIDError: the source cannot be read, or has none.
    """
    source = config.source
    if isinstance(source, ToyWorldSource):
        from .toy_world_source import toy_world_clips

        clips = toy_world_clips(source)
    elif isinstance(source, ConsisIDSource):
        from .consisid_source import consisid_clips

        clips = consisid_clips(source)
    else:
        from .folder_source import folder_clips

        clips = folder_clips(source)
    if not clips:
        raise SlotIDError(f"There is no clip in {source}. Look at its path and its layout.")
    keys = {clip.key for clip in clips}
    if len(keys) < len(clips):
        raise SlotIDError(f"{len(clips) - len(keys)} clips are listed twice. Remove the repeated lines or entries.")
    return sorted(clips, key=lambda clip: clip.key)


def plan_shards(config: PrepareConfig) -> tuple[ShardPlan, ...]:
    """Fixed lists of `clips_per_shard` clips, from the sorted keys alone."""
    clips, size = list_clips(config), config.clips_per_shard
    return tuple(
        ShardPlan(number, tuple(clips[start : start + size])) for number, start in enumerate(range(0, len(clips), size))
    )

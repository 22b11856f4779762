"""One clip to its samples, or to the reason why it has none."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import SlotIDError
from .clip import Clip
from .config import PrepareConfig
from .models import Encoders
from .pixels import Pixels
from .sources import open_source
from .strangers import LIKENESS
from .tensors import TensorMaker, tensors_of


@dataclass(frozen=True)
class Sample:
    """tensors in float16: video (16, T, h, w), text (M, 4096), `empty_text` (M', 4096), the empty prompt, which
    training needs for guidance, `described` (M", 4096) where the clip has such a caption, and what the systems read
    (`tensors.MAKERS`); facts: what its `.json` says."""

    key: str
    tensors: dict[str, Tensor]
    facts: dict


@dataclass
class Prepared:
    """The samples of one clip, and why windows of it failed."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Preparer:
    """Holds the models; one clip per call, and one clip per encode, so that no sample depends on its neighbours."""

    def __init__(self, config: PrepareConfig):
        self.config = config
        self.encoders = Encoders(config)
        self.source = open_source(config)
        self.names = (
            *tensors_of(config.systems, bool(config.face_encoder), bool(config.looks.count)),
            *((LIKENESS,) if config.recogniser else ()),
            *(("factors",) if config.toy_world else ()),
            *(("start_image",) if config.start_image else ()),
            *(("face_shares",) if config.face_shares else ()),
        )
        self.maker = TensorMaker(config, self.encoders, self.source.detector, self.source.shares_faces)
        self.empty_text = self.encoders.text_rows("")

    def __call__(self, clip: Clip) -> Prepared:
        """Never raises for what is wrong with a clip; running out of memory is not the clip's fault, and raises."""
        prepared = Prepared()
        try:
            if clip.failed:
                raise SlotIDError(clip.failed)
            texts = {"text": self.encoders.text_rows(clip.caption), "empty_text": self.empty_text}
            if clip.described:
                texts["described"] = self.encoders.text_rows(clip.described)
            windows = self.source.windows(clip)
        except Exception as error:  # decoders and damaged files fail in many ways; the run goes on
            prepared.failures.append(self._reason(clip, error))
            return prepared
        for number, window in enumerate(windows):
            try:
                prepared.samples.append(self._sample(f"{clip.key}-{number:02d}", clip, window(), texts))
            except Exception as error:
                which = f"window {number}: " if len(windows) > 1 else ""
                prepared.failures.append(which + self._reason(clip, error))
        return prepared

    def _sample(self, key: str, clip: Clip, pixels: Pixels, texts: dict[str, Tensor]) -> Sample:
        tensors = {"video": self.encoders.latents(pixels.video), **self.maker.make(self.names, pixels)}
        facts = {"caption": clip.caption, "person": clip.person, "clip": clip.key, **pixels.facts}
        return Sample(key, tensors | texts, facts)

    def _reason(self, clip: Clip, error: Exception) -> str:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
            raise SlotIDError(
                f"Memory ran out at {clip.key}, for {self.config.frames} frames of "
                f"{self.config.width}x{self.config.height}. Lower frames, height or width, or set vae_dtype to "
                "bfloat16. Whole shards are kept."
            ) from error
        text = " ".join(str(error).split())
        return text if isinstance(error, SlotIDError) else f"{type(error).__name__}: {text}"


def preparer_on_one_thread(config: PrepareConfig) -> Preparer:
    """On one thread sums come out the same on every machine; more workers use more cores."""
    torch.set_num_threads(1)
    return Preparer(config)

"""The tensors that a sample can hold beside video and text, by the names under which systems ask for them."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import SlotIDError
from ..model_files import model_file
from ..reference.faces.alignment import align_face
from ..reference.faces.detector import Detector
from ..reference.faces.face_encoder import load_face_encoder
from ..reference.portrait.canvas import on_canvas
from ..reference.portrait.components import Components, cut_components
from ..reference.portrait.parts import find_parts
from ..systems.registry import inference_of, strategy_of
from .augmentation import augmentations
from .component_shares import component_shares
from .config import PrepareConfig
from .face_places import face_places
from .models import Encoders
from .pixels import Pixels

FACE_PROMPT = "image of a face"


def tensors_of(systems: Iterable[str], faces: bool = False) -> tuple[str, ...]:
    """Names of what the systems read, in training or in use, in the order in which they are stored.

    Args:
        faces: there is a face encoder, so that also what an objective that looks at faces would read is made.
    """
    systems = tuple(systems)
    wanted = {name for system in systems for name in strategy_of(system).required_tensors}
    wanted |= {name for system in systems for name in inference_of(system).required_tensors}
    for optional in ("target_tensors", *(("face_tensors",) if faces else ())):
        wanted |= {name for system in systems for name in getattr(strategy_of(system), optional, ())}
    unknown = sorted(wanted - set(MAKERS))
    if unknown:
        raise SlotIDError(f"No preparation makes {unknown[0]!r}; there are {', '.join(MAKERS)}.")
    return tuple(name for name in MAKERS if name in wanted)


class TensorMaker:
    """Makes tensors of a sample's pictures.

    Args:
        detector: finds the landmarks by which a face is aligned; None takes the middle of the face picture, which is
            where a drawn face is.
        keep_faces: remember the latents of the last face clips, for sources whose clips share them.
    """

    def __init__(self, config: PrepareConfig, encoders: Encoders, detector: Detector | None, keep_faces: bool = False):
        self.config, self.encoders, self.detector = config, encoders, detector
        self.face_latents: Callable[[Tensor], Tensor] = encoders.latents
        self._pictures: Callable[[Tensor], Tensor] = self._encoded_augmentations
        self._cut: Callable[[Tensor, Callable[[], Tensor] | None], Components] = self._components
        if keep_faces:
            self.face_latents = lru_cache(maxsize=16)(encoders.latents)
            self._pictures = lru_cache(maxsize=16)(self._encoded_augmentations)
            self._cut = lru_cache(maxsize=16)(self._components)
        self._face_encoder = None

    def make(self, names: Iterable[str], pixels: Pixels) -> dict[str, Tensor]:
        """float16 on the CPU, each in memory of its own, as files keep them: the portrait can be the face picture."""
        return {name: MAKERS[name](self, pixels).clone() for name in names}

    def reference(self, pixels: Pixels) -> Tensor:
        """(16, T', h', w') latents of the face clip."""
        return self.face_latents(pixels.reference)

    def portrait(self, pixels: Pixels) -> Tensor:
        """(16, 1, h", w") latents of the portrait."""
        return self.face_latents(pixels.portrait)

    def face_picture(self, pixels: Pixels) -> Tensor:
        """(16, 1, h, w) latents of the face as it was filmed, background and all."""
        return self.face_latents(pixels.face_picture)

    def reference_picture(self, pixels: Pixels) -> Tensor:
        """(16, 1, H, W) latents of the face picture at the size of the video, whole, on white."""
        sizes = self.config.sizes
        return self.encoders.latents(on_canvas(pixels.face_picture, sizes.height, sizes.width))

    def augmented_pictures(self, pixels: Pixels) -> Tensor:
        """(16, K, H, W), K other looks of the reference picture; each is encoded by itself, so none is a frame."""
        return self._pictures(pixels.face_picture)

    def _encoded_augmentations(self, picture: Tensor) -> Tensor:
        sizes = self.config.sizes
        changed = augmentations(picture, sizes.height, sizes.width, self.config.augmentation)
        return torch.cat([self.encoders.latents(one) for one in changed], dim=1)

    def factors(self, pixels: Pixels) -> Tensor:
        """(F,) true factors of a drawn person."""
        if pixels.factors is None:
            raise SlotIDError("True factors are known of drawn people only. Prepare the toy world, or read a clip.")
        return pixels.factors.half()

    def start_image(self, pixels: Pixels) -> Tensor:
        """(16, T, H, W) latents of the video with every frame after the first grey, as Wan's image-to-video models are
        given them."""
        return self.encoders.latents(torch.cat([pixels.video[:1], torch.full_like(pixels.video[1:], 0.5)]))

    def grey_picture(self, pixels: Pixels) -> Tensor:
        """(16, 1, h, w) latents of a plain grey picture of the face picture's size."""
        return self.face_latents(torch.full_like(pixels.face_picture, 0.5))

    def face_prompt(self, pixels: Pixels) -> Tensor:
        """(M, 4096) rows of the prompt under which a model looks at a picture of a face."""
        return self.encoders.text_rows(FACE_PROMPT)

    def face_embedding(self, pixels: Pixels) -> Tensor:
        """(512,) face embedding by the face encoder of the settings."""
        if not self.config.face_encoder:
            raise SlotIDError(
                "This system reads face embeddings, and face_encoder is not set. Give facexlib's "
                "recognition_arcface_ir_se50.pth, the file of another IR-SE50, or toy_world for drawn people."
            )
        if self._face_encoder is None:
            file = model_file(self.config.face_encoder, "face_recogniser")
            self._face_encoder = load_face_encoder(file).to(self.encoders.device)
        aligned = align_face(pixels.face_picture, self.detector, on_missing="skip").embedding_crop
        crop = aligned.permute(2, 0, 1)[None].to(self.encoders.device) * 2 - 1
        with torch.inference_mode():
            return self._face_encoder(crop)[0].to("cpu", torch.float16)

    def face_places(self, pixels: Pixels) -> Tensor:
        """(T', 2, 3), where the face lies in the video's frame of each latent one; see `face_places`."""
        return face_places(pixels, self.detector).half()

    def component_pictures(self, pixels: Pixels) -> Tensor:
        """(M, 3, S, S), each component of the face picture on white; see `reference.portrait.components`."""
        return self._cut(pixels.face_picture, pixels.picture_parts).pictures.half()

    def component_places(self, pixels: Pixels) -> Tensor:
        """(M, 4), which of these are shown, and where."""
        return self._cut(pixels.face_picture, pixels.picture_parts).places.half()

    def _components(self, picture: Tensor, exact: Callable[[], Tensor] | None) -> Components:
        side = picture.shape[1]
        room = side * self.config.margin / (1 + 2 * self.config.margin)
        box = (room, room, side - room, side - room)  # a face picture is cut so
        shares = exact()[0].movedim(-1, 0) if exact is not None else find_parts(picture, [box]).parts[0]
        return cut_components(picture[0], shares, box, self.config.sizes.component_size)

    def component_shares(self, pixels: Pixels) -> Tensor:
        """(7, T', h, w), what each token of the video shows of a face; see `component_shares`."""
        return component_shares(pixels, self.config.margin).half()


MAKERS: dict[str, Callable[[TensorMaker, Pixels], Tensor]] = {
    "reference": TensorMaker.reference,
    "portrait": TensorMaker.portrait,
    "face_picture": TensorMaker.face_picture,
    "reference_picture": TensorMaker.reference_picture,
    "augmented_pictures": TensorMaker.augmented_pictures,
    "factors": TensorMaker.factors,
    "start_image": TensorMaker.start_image,
    "grey_picture": TensorMaker.grey_picture,
    "face_prompt": TensorMaker.face_prompt,
    "face_embedding": TensorMaker.face_embedding,
    "face_places": TensorMaker.face_places,
    "component_pictures": TensorMaker.component_pictures,
    "component_places": TensorMaker.component_places,
    "component_shares": TensorMaker.component_shares,
}

# Those that are one picture of the person, and the pixels (1, S, S, 3) that it is made of.
PICTURES: dict[str, Callable[[Pixels], Tensor]] = {
    "portrait": lambda pixels: pixels.portrait,
    "face_picture": lambda pixels: pixels.face_picture,
    "reference_picture": lambda pixels: pixels.face_picture,
}

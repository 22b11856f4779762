"""The tensors that a sample can hold beside video and text, by the names under which systems ask for them."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import SlotIDError
from ..model_files import model_file
from ..reference.faces.alignment import align_face
from ..reference.faces.detector import Detector
from ..reference.faces.drawn_faces import find_drawn_faces
from ..reference.faces.face_encoder import load_face_encoder
from ..reference.faces.mean_face import mean_face
from ..reference.portrait.canvas import on_canvas
from ..reference.portrait.components import Components, cut_components
from ..reference.portrait.faces_of_clip import ranked_moments
from ..reference.portrait.parts import find_parts
from ..systems.registry import inference_of, strategy_of
from .augmentation import augmentations
from .component_shares import component_shares
from .config import PrepareConfig
from .face_places import face_places
from .face_shares import face_shares
from .looks import other_looks
from .models import Encoders
from .pixels import Pixels
from .strangers import LIKENESS, Resemblance

FACE_PROMPT = "image of a face"
CLIP_MOMENTS, CLIP_PICTURES = 8, 4  # of a clip: moments whose embeddings are averaged, and that are shown


def tensors_of(systems: Iterable[str], faces: bool = False, looks: bool = False) -> tuple[str, ...]:
    """Names of what the systems read, in training or in use, in the order in which they are stored.

    Args:
        faces: there is a face encoder, so that also what an objective that looks at faces would read is made.
        looks: also what augmented pairs are made of.
    """
    systems = tuple(systems)
    wanted = {name for system in systems for name in strategy_of(system).required_tensors}
    wanted |= {name for system in systems for name in inference_of(system).required_tensors}
    for optional in ("target_tensors", *(("face_tensors",) if faces else ())):
        wanted |= {name for system in systems for name in getattr(strategy_of(system), optional, ())}
    if looks:
        wanted |= {
            name for system in systems for name in getattr(strategy_of(system), "augmented_tensors", {}).values()
        }
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
        kept = 16 if keep_faces else 1  # a clip's looks are encoded and embedded
        self._looks_of: Callable[[Tensor, Callable[[], Tensor] | None], list[Tensor | None]] = lru_cache(kept)(
            self._looks
        )
        # The same in every sample.
        self._prompt_rows: Callable[[str], Tensor] = lru_cache(maxsize=1)(encoders.text_rows)
        self._grey: Callable[[torch.Size], Tensor] = lru_cache(maxsize=1)(self._encoded_grey)
        self._look_latents: Callable[[Tensor, Callable[[], Tensor] | None], Tensor] = self._encoded_looks
        self._look_embeddings: Callable[[Tensor, Callable[[], Tensor] | None], Tensor] = self._embedded_looks
        self._vector: Callable[[Tensor], Tensor] = self._likeness
        if keep_faces:
            self._look_latents = lru_cache(maxsize=16)(self._encoded_looks)
            self._look_embeddings = lru_cache(maxsize=16)(self._embedded_looks)
            self._vector = lru_cache(maxsize=16)(self._likeness)
            self.face_latents = lru_cache(maxsize=16)(encoders.latents)
            self._pictures = lru_cache(maxsize=16)(self._encoded_augmentations)
            self._cut = lru_cache(maxsize=16)(self._components)
        self._face_encoder = None
        self._resemblance: Resemblance | None = None

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
        return self._grey(pixels.face_picture.shape)

    def _encoded_grey(self, shape: torch.Size) -> Tensor:
        return self.encoders.latents(torch.full(shape, 0.5))

    def face_prompt(self, pixels: Pixels) -> Tensor:
        """(M, 4096) rows of the prompt under which a model looks at a picture of a face."""
        return self._prompt_rows(FACE_PROMPT)

    def face_embedding(self, pixels: Pixels) -> Tensor:
        """(512,) face embedding by the face encoder of the settings."""
        return self._embedding(pixels.face_picture)

    def face_picture_looks(self, pixels: Pixels) -> Tensor:
        """(K, 16, 1, h, w), K other looks of the face picture; NaN where one does not resemble the person."""
        return self._look_latents(pixels.face_picture, pixels.face_frames)

    def face_embedding_looks(self, pixels: Pixels) -> Tensor:
        """(K, 512), the face embedding of each of these looks."""
        return self._look_embeddings(pixels.face_picture, pixels.face_frames)

    def face_embedding_of_clip(self, pixels: Pixels) -> Tensor:
        """(512,), the mean of the embeddings of the clip's best moments, without outliers."""
        moments = self._moments(pixels)
        return mean_face(torch.stack([self._embedding(moment) for moment in moments]).float()).vector.half()

    def face_pictures_of_clip(self, pixels: Pixels) -> Tensor:
        """(K, 16, 1, h, w), the face in the clip's best moments, as often as there are fewer than K."""
        moments = self._moments(pixels)
        shown = [moments[place % len(moments)] for place in range(CLIP_PICTURES)]
        return torch.stack([self.face_latents(moment) for moment in shown])

    def _moments(self, pixels: Pixels) -> list[Tensor]:
        """(1, P, P, 3) of each of the clip's best moments, best first."""
        if pixels.face_frames is None:
            raise SlotIDError("There is one picture of this person, and a clip was asked for. Prepare from clips.")
        frames = pixels.face_frames()
        ranked = ranked_moments(frames, self.detector or find_drawn_faces(), CLIP_MOMENTS)
        return [frames[moment.frame : moment.frame + 1] for moment in ranked]

    def likeness(self, pixels: Pixels) -> Tensor:
        """(D,) of the face picture, by the recogniser of the settings; see `strangers`."""
        return self._vector(pixels.face_picture)

    def _likeness(self, picture: Tensor) -> Tensor:
        self._resemblance = self._resemblance or Resemblance(self.config)
        return self._resemblance.vector(picture)

    def _looks(self, picture: Tensor, frames: Callable[[], Tensor] | None) -> list[Tensor | None]:
        """Other looks of a face picture, None where one does not resemble the person."""
        shown = None if frames is None else frames()
        looks = other_looks(picture, shown, self.config.margin, self.config.looks)
        if not self.config.recogniser:
            return list(looks)
        known = self._vector(picture)
        assert self._resemblance is not None  # made for the vector
        return [look if self._resemblance.shows(look, known) else None for look in looks]

    def _encoded_looks(self, picture: Tensor, frames: Callable[[], Tensor] | None) -> Tensor:
        looks, nothing = self._looks_of(picture, frames), torch.full_like(self.face_latents(picture), float("nan"))
        return torch.stack([nothing if look is None else self.encoders.latents(look) for look in looks])

    def _embedded_looks(self, picture: Tensor, frames: Callable[[], Tensor] | None) -> Tensor:
        looks = self._looks_of(picture, frames)
        nothing = torch.full_like(self._embedding(picture), float("nan"))
        return torch.stack([nothing if look is None else self._embedding(look) for look in looks])

    def _embedding(self, picture: Tensor) -> Tensor:
        if not self.config.face_encoder:
            raise SlotIDError(
                "This system reads face embeddings, and face_encoder is not set. Give facexlib's "
                "recognition_arcface_ir_se50.pth, the file of another IR-SE50, or toy_world for drawn people."
            )
        if self._face_encoder is None:
            file = model_file(self.config.face_encoder, "face_recogniser")
            self._face_encoder = load_face_encoder(file).to(self.encoders.device)
        aligned = align_face(picture, self.detector, on_missing="skip").embedding_crop
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

    def face_shares(self, pixels: Pixels) -> Tensor:
        """(T', h, w), how much of each place of the video's latents shows the face; see `face_shares`."""
        return face_shares(pixels, self.config.margin, self.config.face_shares).half()


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
    "face_picture_looks": TensorMaker.face_picture_looks,
    "face_embedding_looks": TensorMaker.face_embedding_looks,
    "face_embedding_of_clip": TensorMaker.face_embedding_of_clip,
    "face_pictures_of_clip": TensorMaker.face_pictures_of_clip,
    LIKENESS: TensorMaker.likeness,
    "face_places": TensorMaker.face_places,
    "component_pictures": TensorMaker.component_pictures,
    "component_places": TensorMaker.component_places,
    "component_shares": TensorMaker.component_shares,
    "face_shares": TensorMaker.face_shares,
}

# Those that are one picture of the person, and the pixels (1, S, S, 3) that it is made of.
PICTURES: dict[str, Callable[[Pixels], Tensor]] = {
    "portrait": lambda pixels: pixels.portrait,
    "face_picture": lambda pixels: pixels.face_picture,
    "reference_picture": lambda pixels: pixels.face_picture,
}

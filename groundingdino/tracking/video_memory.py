"""What a model of videos remembers of earlier frames, kept as small as it can be.

transformers' sessions keep every frame and every output: 12.6 MB a frame, and with SAM 2 another 6 MB a frame and
object. For the next frame the model reads no more than the memories of the last few (6) and the pointers of some more
(15), and both of the frame in which an object began. All else goes here, and what stays lies on the CPU: the masks are
the same to the bit.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from groundingdino.segmentation.transformers_sam import Stretch
from groundingdino.tracking.video_models import VideoModel

_MEMORY = ("maskmem_features", "maskmem_pos_enc")  # by transformers' names
_POINTER = "object_pointer"
_PRESENT = 0.0  # a logit above it: the object is in the frame


class Seen(NamedTuple):
    """One object in a frame."""

    logits: Tensor  # (h, w), over 0 inside
    present: float  # its score, a logit


class VideoMemory:
    """Objects that a model follows from frame to frame.

    Args:
        loaded: The model; it may be shared, as nothing is kept in it.
    """

    def __init__(self, loaded: VideoModel):
        self._model, self._side = loaded.model, loaded.side
        self._stretch = Stretch(loaded.side)
        self._mean, self._std = (
            255 * torch.tensor(values).view(3, 1, 1)  # rounded as transformers does
            for values in (loaded.pixels.mean, loaded.pixels.std)
        )
        self._device = next(loaded.model.parameters()).device
        self._session: Any = loaded.session(
            inference_device=self._device,
            inference_state_device="cpu",
            video_storage_device=self._device,
            dtype=torch.float32,
        )
        self._index = -1
        self._frame: Tensor | None = None  # the last one as the model sees it; None before it was needed
        self._pixels: np.ndarray | None = None

    @property
    def ids(self) -> list[int]:
        """Of what is followed."""
        return list(self._session.obj_ids)

    @property
    def size_bytes(self) -> int:
        """What is kept of frames, prompts and outputs."""
        session = self._session
        kept = [session.processed_frames, session.cache._vision_features, session.output_dict_per_obj]
        kept += [session.mask_inputs_per_obj, session.point_inputs_per_obj]
        storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in _tensors(kept)}
        return sum(storages.values())

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """A frame (H, W, 3) as the model sees it, (S, S, 3) uint8: to follow things in this one is the same."""
        return self._stretch.apply_image(pixels)

    def follow(self, pixels: np.ndarray) -> dict[int, Seen]:
        """The next frame, (H, W, 3) uint8; each object that is followed by its id."""
        self._index += 1
        self._prune()
        self._pixels, self._frame = pixels, None
        return self._run() if self.ids else {}

    def begin(self, masks: Mapping[int, np.ndarray]) -> None:
        """Objects that are followed from the last frame on, by new ids: masks (H, W) bool, none of them empty."""
        if not masks:
            return
        for id, mask in masks.items():
            place = self._session.obj_id_to_idx(id)
            self._session.add_mask_inputs(place, self._index, self._fitted(mask))
        self._session.obj_with_new_inputs = list(masks)
        self._run()

    def forget(self, ids: Collection[int]) -> None:
        """These are followed no more."""
        session = self._session
        kept = [session.obj_id_to_idx(id) for id in self.ids if id not in ids]
        names = [session.obj_idx_to_id(place) for place in kept]
        for name in ("point_inputs_per_obj", "mask_inputs_per_obj", "output_dict_per_obj", "frames_tracked_per_obj"):
            values = getattr(session, name)
            setattr(session, name, {new: values[old] for new, old in enumerate(kept)})
        # A session numbers its objects from 0 without gaps.
        session._obj_id_to_idx.clear()
        session._obj_idx_to_id.clear()
        session._obj_id_to_idx.update({id: place for place, id in enumerate(names)})
        session._obj_idx_to_id.update(dict(enumerate(names)))
        session.obj_ids = names

    @torch.inference_mode()
    def _run(self) -> dict[int, Seen]:
        if self._frame is None:
            assert self._pixels is not None
            fitted = torch.from_numpy(self._stretch.apply_image(self._pixels)).permute(2, 0, 1)
            self._frame = ((fitted.float() - self._mean) / self._std).to(self._device)
        found = self._model(inference_session=self._session, frame_idx=self._index, frame=self._frame)
        masks, scores = found.pred_masks.float().cpu(), found.object_score_logits.float().cpu().flatten()
        return {
            id: Seen(mask.squeeze(0), float(score))
            for id, mask, score in zip(found.object_ids, masks, scores, strict=True)
        }

    def _fitted(self, mask: np.ndarray) -> Tensor:
        """A mask as the model sees it, (1, 1, S, S), as transformers' processor makes it."""
        whole = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
        if whole.shape[-2:] != (self._side, self._side):
            size = (self._side, self._side)
            whole = F.interpolate(whole, size, mode="bilinear", align_corners=False, antialias=True)
        return (whole >= 0.5).float()

    @torch.inference_mode()
    def _prune(self) -> None:
        """Before a frame: drops all that it does not read."""
        session, config = self._session, self._model.config
        session.processed_frames = {}
        session.cache.clear_all()
        memories = self._index - (config.num_maskmem - 1)  # the first frame that is read
        pointers = self._index - (config.max_object_pointers_in_encoder - 1)
        for place, outputs in session.output_dict_per_obj.items():
            session.mask_inputs_per_obj[place] = {}
            session.frames_tracked_per_obj[place] = {}
            for kind, first in (("cond_frame_outputs", 0), ("non_cond_frame_outputs", memories)):
                outputs[kind] = {
                    index: _kept(output, index >= first)
                    for index, output in outputs[kind].items()
                    if kind == "cond_frame_outputs" or index >= min(memories, pointers)
                }


def mask_of(seen: Seen, size: tuple[int, int]) -> np.ndarray:
    """An object's mask in a frame of (width, height), (height, width) bool; empty where it is not."""
    if seen.present <= _PRESENT:
        return np.zeros(size[::-1], bool)
    whole = F.interpolate(seen.logits[None, None], size[::-1], mode="bilinear", align_corners=False)
    return (whole[0, 0] > 0).numpy()


def _kept(output: Mapping[str, Any], memory: bool) -> dict[str, Any]:
    """What is read of a frame's output again."""
    names = (_POINTER, *_MEMORY) if memory else (_POINTER,)
    return {name: _alone(output[name]) for name in names if name in output}


def _alone(tensor: Tensor) -> Tensor:
    """On the CPU, without the larger tensor that it may be a part of."""
    tensor = tensor.cpu()
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)

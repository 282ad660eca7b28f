"""Where each public name lives; `__init__.py` imports it when it is first used."""

from .detection import checkpoints
from .detection.checkpoints import load_checkpoint
from .detection.detector import CacheBytes, Detector, EncodedImage
from .detection.phrases import Grounding
from .editing.edits import BrushStroke, Edit, MaskSettings, Sampling
from .editing.inpainter import Inpainter
from .editing.perform import HeldBack, edit_picture
from .editing.recipe import read_recipe
from .editing.tasks import (
    Background,
    BlurBackground,
    ColorBackground,
    Obscure,
    Outpaint,
    PictureBackground,
    Recolor,
    Region,
    Regions,
    Remove,
    Replace,
    Spotlight,
    StickerCutOut,
    TransparentBackground,
)
from .inputs.image import load_editable, load_image
from .model import GroundingDINO
from .model.config import EMBEDDED, SWIN_B, SWIN_L, SWIN_T, GroundingDINOConfig
from .runtime.allocation import keep_freed_memory
from .runtime.interruption import Stopped
from .segmentation.candidates import ImageEmbedding
from .segmentation.mask_prompts import MaskPrompt
from .segmentation.masks import smooth_masks
from .segmentation.segmenter import Segmenter, SegmenterCacheBytes
from .tracking.looks import look_by
from .tracking.mask_tracker import MaskTracker
from .tracking.tracker import EmbeddedTracker, TrackedFrame, Tracker, TrackerSettings
from .tracking.video import Frame, Video, VideoInfo, VideoLimits
from .tracking.video_models import load_video_model
from .tracking.writing import VideoWriter

__all__ = [
    "EMBEDDED",
    "SWIN_B",
    "SWIN_L",
    "SWIN_T",
    "Background",
    "BlurBackground",
    "BrushStroke",
    "CacheBytes",
    "ColorBackground",
    "Detector",
    "Edit",
    "EmbeddedTracker",
    "EncodedImage",
    "Frame",
    "Grounding",
    "GroundingDINO",
    "GroundingDINOConfig",
    "HeldBack",
    "ImageEmbedding",
    "Inpainter",
    "MaskPrompt",
    "MaskSettings",
    "MaskTracker",
    "Obscure",
    "Outpaint",
    "PictureBackground",
    "Recolor",
    "Region",
    "Regions",
    "Remove",
    "Replace",
    "Sampling",
    "Segmenter",
    "SegmenterCacheBytes",
    "Spotlight",
    "StickerCutOut",
    "Stopped",
    "TrackedFrame",
    "Tracker",
    "TrackerSettings",
    "TransparentBackground",
    "Video",
    "VideoInfo",
    "VideoLimits",
    "VideoWriter",
    "checkpoints",
    "edit_picture",
    "keep_freed_memory",
    "load_checkpoint",
    "load_editable",
    "load_image",
    "load_video_model",
    "look_by",
    "read_recipe",
    "smooth_masks",
]

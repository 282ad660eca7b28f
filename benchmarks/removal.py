"""How well a hole is filled without a model, against what is truly behind the object, and how long it takes.

    python -m benchmarks.removal [--scenes 60] [--photos FOLDER]

In each held-out scene one object is taken away, of which the scene can be drawn without it. Photographs (any folder of
pictures) have a hole of an object's shape where nothing was. PSNR and SSIM are of the pixels in the hole; "busy" is how
many times more or less the picture changes there from pixel to pixel than in truth: 1.0 is right, less is smooth. The
last column is of one thread of the processor. Methods of opencv-contrib-python-headless (xphoto) and of scikit-image
join where these are installed.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image

from benchmarks.table import machine, print_table
from groundingdino.editing.edits import MaskSettings
from groundingdino.editing.filling import fill_hole
from groundingdino.editing.mask import grow
from groundingdino.editing.tasks import Remove
from groundingdino.inputs.image import load_image
from groundingdino.training.scenes.scenes import evaluation_maker

Fill = Callable[[np.ndarray, np.ndarray], np.ndarray]
VISIBLE = 0.9  # of an object that is taken away
MOST_DECIBELS = 50.0  # as much as counts: some backgrounds are of one colour
SIZE = 640  # pixels of a photograph's longer side


class Case(NamedTuple):
    """A picture and its truth, (H, W, 3) uint8, and the hole (H, W) bool."""

    pixels: np.ndarray
    truth: np.ndarray
    hole: np.ndarray


def scenes(count: int) -> Iterator[Case]:
    """Held-out scenes with and without an object of which nearly all is seen; the mask is grown as edits grow it."""
    maker, index = evaluation_maker("noto"), 0
    while count:
        scene = maker.scene(index)
        seen = np.flatnonzero(scene.visible > VISIBLE)
        if len(seen):
            chosen = int(np.random.default_rng(index).choice(seen))
            yield Case(scene.image, maker.without(index, chosen), _grown(scene.masks[chosen]))
            count -= 1
        index += 1


def photos(folder: Path) -> Iterator[Case]:
    """Photographs with a hole of the shape of an object in some scene, a fifth to two fifths as long as the picture."""
    maker = evaluation_maker("noto")
    for index, path in enumerate(sorted(path for path in folder.iterdir() if path.suffix != ".json")):
        image = load_image(path)
        image.thumbnail((SIZE, SIZE))
        rng, pixels = np.random.default_rng(index), np.asarray(image)
        mask = _shape(maker.scene(index).masks, rng)
        scale = float(rng.uniform(0.2, 0.4)) * min(image.size) / max(mask.shape)
        size = tuple(max(2, round(side * scale)) for side in mask.shape[::-1])
        mask = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
        y, x = (int(rng.integers(whole - part)) for whole, part in zip(pixels.shape, mask.shape, strict=False))
        hole = np.zeros(pixels.shape[:2], bool)
        hole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
        yield Case(pixels, pixels, _grown(hole))


def methods() -> dict[str, Fill]:
    """All that can be compared here; ours last."""
    found: dict[str, Fill] = {
        "Telea (OpenCV)": lambda pixels, hole: cv2.inpaint(pixels, hole.view(np.uint8), 5, cv2.INPAINT_TELEA),
        "Navier-Stokes (OpenCV)": lambda pixels, hole: cv2.inpaint(pixels, hole.view(np.uint8), 5, cv2.INPAINT_NS),
    }
    if xphoto := getattr(cv2, "xphoto", None):  # of opencv-contrib alone
        found["frequency-selective (xphoto)"] = partial(_xphoto, xphoto, xphoto.INPAINT_FSR_FAST)
        found["shift map (xphoto)"] = partial(_xphoto, xphoto, xphoto.INPAINT_SHIFTMAP)
    try:
        from skimage.restoration import inpaint_biharmonic

        found["biharmonic (scikit-image)"] = lambda pixels, hole: np.rint(
            255 * np.clip(inpaint_biharmonic(pixels, hole, channel_axis=-1), 0, 1)
        ).astype(np.uint8)
    except ImportError:
        pass
    return {**found, "ours: nearest patches, coarse to fine": fill_hole}


def measure(method: Fill, cases: list[Case]) -> tuple[float, float, float, float]:
    """Means of PSNR in decibels, SSIM and busyness, and seconds of the processor for a megapixel of picture."""
    method(*cases[0][::2])
    figures, seconds = [], 0.0
    for case in cases:
        start = time.process_time()
        filled = method(case.pixels, case.hole)
        seconds += time.process_time() - start
        figures.append((psnr(filled, case), ssim(filled, case), busyness(filled, case)))
    decibels, alike, busy = np.mean(figures, axis=0)
    return decibels, alike, 2**busy, seconds / sum(case.hole.size for case in cases) * 1e6


def psnr(filled: np.ndarray, case: Case) -> float:
    """Peak signal-to-noise ratio in the hole, in decibels."""
    error = ((filled.astype(float) - case.truth)[case.hole] ** 2).mean()
    return min(MOST_DECIBELS, 10 * np.log10(255**2 / max(error, 1e-9)))


def ssim(filled: np.ndarray, case: Case) -> float:
    """Structural similarity of the hole's brightness (Wang et al. 2004), with a Gaussian of 1.5 pixels."""

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), 1.5)

    ours, truth = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY).astype(np.float32) for each in (filled, case.truth))
    m, n = mean(ours), mean(truth)
    spread, other, shared = mean(ours * ours) - m * m, mean(truth * truth) - n * n, mean(ours * truth) - m * n
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similar = (2 * m * n + first) * (2 * shared + second) / ((m * m + n * n + first) * (spread + other + second))
    return float(similar[case.hole].mean())


def busyness(filled: np.ndarray, case: Case) -> float:
    """Logarithm to base 2 of how much more the hole changes from pixel to pixel than in truth."""
    greys = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (filled, case.truth))
    ours, truth = (1 + np.abs(cv2.Laplacian(grey, cv2.CV_32F))[case.hole].mean() for grey in greys)
    return float(np.log2(ours / truth))


def _shape(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One of the objects (N, H, W), cut to its box; a square if there is none."""
    if not masks.any():
        return np.ones((8, 8), bool)
    mask = masks[rng.choice(np.flatnonzero(masks.any((1, 2))))]
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return mask[y : y + height, x : x + width].copy()


def _grown(mask: np.ndarray) -> np.ndarray:
    *_, width, height = cv2.boundingRect(mask.view(np.uint8))
    return grow(mask, MaskSettings().grow_of(max(width, height), Remove()))


def _xphoto(xphoto: Any, kind: int, pixels: np.ndarray, hole: np.ndarray) -> np.ndarray:
    filled = np.zeros_like(pixels)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    xphoto.inpaint(lab, (~hole).view(np.uint8) * 255, filled, kind)
    return cv2.cvtColor(filled, cv2.COLOR_LAB2RGB)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60, help="how many (%(default)s)")
    parser.add_argument("--photos", type=Path, help="folder of pictures")
    parser.add_argument("--most", type=int, default=40, help="photographs (%(default)s)")
    parser.add_argument("--montage", type=Path, help="write what each method makes of the first twelve cases")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    cases = {"scenes": list(scenes(options.scenes))}
    if options.photos:
        cases["photographs"] = [case for case, _ in zip(photos(options.photos), range(options.most), strict=False)]
    print(machine())
    for name, group in cases.items():
        rows = []
        for method, function in methods().items():
            decibels, alike, busy, seconds = measure(function, group)
            rows.append((method, f"{decibels:.1f} dB", f"{alike:.3f}", f"{busy:.2f}", f"{seconds:.2f} s"))
        header = ("method", "PSNR in the hole", "SSIM", "busy", "seconds per megapixel")
        print_table(f"{len(group)} {name}", header, rows)
    if options.montage:
        _montage([case for group in cases.values() for case in group[:12]]).save(options.montage)


def _montage(cases: list[Case]) -> Image.Image:
    """Each case in a row: the hole, the truth, and what each method makes of it."""
    rows = []
    for case in cases:
        covered = np.where(case.hole[..., None], case.pixels // 2 + np.array([127, 0, 127], np.uint8), case.pixels)
        tiles = [covered, case.truth, *(method(case.pixels, case.hole) for method in methods().values())]
        rows.append(np.concatenate([cv2.resize(tile, (240, 180), interpolation=cv2.INTER_AREA) for tile in tiles], 1))
    return Image.fromarray(np.concatenate(rows))


if __name__ == "__main__":
    main()

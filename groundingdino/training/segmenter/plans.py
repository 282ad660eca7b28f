"""What the embedded segmenters learn from, in which order and for how long."""

from groundingdino.segmentation.embedded_encoder import IMAGE_SIZE
from groundingdino.training.segmenter.mask_batches import Plan, Stage

# Parts of pictures and whole ones in turns: what learns one alone forgets the other.
_IN_TURNS = (
    Stage(48, pictures=16, objects=2, side=320, whole=False, stages_learn=True, measured=False, close_up=True),
    Stage(16, pictures=8, objects=4, side=IMAGE_SIZE, whole=True, stages_learn=True, measured=False),
)
_TURNS = 70
# About five hours of one core that multiplies float32 at 80 GFLOP/s, and the turns fifteen more, or half an hour of a
# GPU: first what is cheap, last what is asked of it.
_EMBEDDED = Plan(
    stages=(
        Stage(steps=150, pictures=8, objects=0, side=192, whole=False, stages_learn=False),
        Stage(steps=300, pictures=8, objects=6, side=192, whole=False, stages_learn=False),
        Stage(steps=50, pictures=8, objects=6, side=192, whole=False, stages_learn=True),
        Stage(steps=250, pictures=3, objects=6, side=256, whole=False, stages_learn=True),
        Stage(steps=450, pictures=2, objects=6, side=384, whole=False, stages_learn=True),
        Stage(steps=2250, pictures=2, objects=6, side=448, whole=False, stages_learn=True),
        Stage(steps=480, pictures=2, objects=6, side=448, whole=False, stages_learn=True, measured=False),
        Stage(steps=640, pictures=2, objects=6, side=IMAGE_SIZE, whole=True, stages_learn=True, measured=False),
        Stage(steps=2000, pictures=2, objects=6, side=448, whole=False, stages_learn=True, measured=False),
        Stage(steps=1250, pictures=2, objects=6, side=IMAGE_SIZE, whole=True, stages_learn=True, measured=False),
        Stage(1200, pictures=4, objects=3, side=320, whole=False, stages_learn=True, measured=False, close_up=True),
        *(_TURNS * _IN_TURNS),
        # What finds objects costs little without the rest, and needs more pictures than it saw with it.
        Stage(1800, pictures=16, objects=0, side=IMAGE_SIZE, whole=True, stages_learn=False, proposals_alone=True),
    ),
    restarts=(10, 11, 11 + _TURNS * len(_IN_TURNS)),
)
# About fifty minutes of such a core. First all behind the backbone's network learns to see as `embedded` does.
_PHOTOGRAPHIC = Plan(
    stages=(
        Stage(100, pictures=12, objects=0, side=320, whole=False, stages_learn=False, imitates=True),
        *48
        * (
            Stage(16, pictures=8, objects=3, side=320, whole=False, stages_learn=True, measured=False, close_up=True),
            Stage(8, pictures=4, objects=3, side=IMAGE_SIZE, whole=True, stages_learn=True, measured=False),
        ),
    ),
    learning_rate=1.2e-3,
    warm_up=30,
    average=0.985,
    corrected=0.2,
    kinds=(0.55, 0.35, 0.1),
    restarts=(1,),
    # What ImageNet taught of edges and textures stays as it is, and so do filters of a channel each: to learn those
    # takes a CPU longer than all else together.
    frozen=("features.conv_stem.", "features.bn1.", "features.blocks.0.", "features.blocks.1.", ".conv_dw."),
    follows="embedded",
    scenes=0.3,
    seed=31,
)
PLANS = {"embedded": _EMBEDDED, "embedded-photos": _PHOTOGRAPHIC}  # by the detector whose backbone they start with

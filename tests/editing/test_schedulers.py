from types import SimpleNamespace

import pytest
from diffusers import DDIMScheduler, LCMScheduler

from groundingdino.editing.schedulers import SCHEDULERS, make_scheduler, schedulers_for

PUBLISHED = DDIMScheduler(
    beta_start=0.001, beta_end=0.02, beta_schedule="scaled_linear", prediction_type="v_prediction"
)


def pipeline(scheduler, time_cond_proj_dim=None) -> SimpleNamespace:
    return SimpleNamespace(
        scheduler=scheduler, unet=SimpleNamespace(config=SimpleNamespace(time_cond_proj_dim=time_cond_proj_dim))
    )


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_keeps_what_the_weights_were_trained_with(name):
    scheduler = make_scheduler(PUBLISHED, name)
    for setting in ("beta_start", "beta_end", "beta_schedule", "prediction_type"):
        assert scheduler.config[setting] == PUBLISHED.config[setting]
    scheduler.set_timesteps(7)
    assert len(scheduler.timesteps) >= 6


def test_names_make_what_they_say():
    kinds = {name: type(make_scheduler(PUBLISHED, name)).__name__ for name in SCHEDULERS}
    assert kinds == {
        "ddim": "DDIMScheduler",
        "dpm++": "DPMSolverMultistepScheduler",
        "unipc": "UniPCMultistepScheduler",
        "euler": "EulerDiscreteScheduler",
        "euler-a": "EulerAncestralDiscreteScheduler",
        "lcm": "LCMScheduler",
    }


def test_without_a_name_it_is_the_published_one_afresh():
    scheduler = make_scheduler(PUBLISHED, None)
    assert type(scheduler) is DDIMScheduler
    assert scheduler is not PUBLISHED
    assert scheduler.config == PUBLISHED.config


@pytest.mark.parametrize(
    ("made", "few_steps"),
    [(pipeline(PUBLISHED), False), (pipeline(LCMScheduler()), True), (pipeline(PUBLISHED, 256), True)],
)
def test_the_scheduler_of_few_steps_is_offered_where_weights_were_distilled_for_it(made, few_steps):
    assert ("lcm" in schedulers_for(made)) == few_steps
    assert set(SCHEDULERS) - {"lcm"} <= set(schedulers_for(made))

"""The schedulers that an inpainter's noise can be taken away by, by name."""

from typing import Any

# Names, what a user should know, and diffusers' class with settings beside the model's own.
SCHEDULERS: dict[str, str] = {
    "ddim": "DDIM: plain, the reference",
    "dpm++": "DPM-Solver++: good pictures in 20 to 25 steps",
    "unipc": "UniPC: good pictures in 10 to 20 steps",
    "euler": "Euler: simple, like DDIM",
    "euler-a": "Euler ancestral: more variety, less repeatable between step counts",
    "lcm": "LCM: 4 to 8 steps, for weights that were distilled for it",
}
FOR_DISTILLED = frozenset({"lcm"})  # of use only with weights that were distilled for few steps
_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    # Of `few_steps`, which were distilled for the last of equal parts of the noise, pure noise among them.
    "ddim-trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    "euler-trailing": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
}


def matches_flows(pipeline: Any) -> bool:
    """Whether it was trained by flow matching, whose scheduler alone takes its noise away."""
    return type(pipeline.scheduler).__name__.startswith("FlowMatch")


def schedulers_for(pipeline: Any) -> tuple[str, ...]:
    """Names that suit a pipeline: none where it matches flows; LCM's only where the weights were distilled for few
    steps, as they take the guidance as an input or bring that scheduler."""
    if matches_flows(pipeline):
        return ()
    config = getattr(getattr(pipeline, "unet", None), "config", None)
    few_steps = getattr(config, "time_cond_proj_dim", None) is not None
    few_steps = few_steps or type(pipeline.scheduler).__name__ == "LCMScheduler"
    return tuple(name for name in SCHEDULERS if name not in FOR_DISTILLED or few_steps)


def make_scheduler(published: Any, name: str | None) -> Any:
    """A fresh scheduler for one run, with the settings of the published one; None: of the published kind."""
    if name is None:
        return type(published).from_config(published.config)
    import diffusers

    kind, settings = _CLASSES[name]
    return getattr(diffusers, kind).from_config(published.config, **settings)

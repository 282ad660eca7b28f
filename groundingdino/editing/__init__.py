"""Editing what was found: replace it, remove it, or give it another background.

`tasks` says what is done (`modes` names them), `edits` with which settings, `mask` where it paints, `perform` does it:
by `backgrounds`, `effects` and `filling`, which take no model, by `stickers`, or by an inpainter, which works on
`crops` of the picture and reports its progress by `preview` and `latent_preview`; `blending` lays what is painted over
the picture. `recipe` says how a picture was made. `available_models` lists the inpainters, `inpainter_models` loads
pipelines of `inpainter_files`, with `schedulers` and, for GLIGEN, `gligen`; `out_of_memory` recognises when a smaller
size should be tried.
"""

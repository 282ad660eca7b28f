"""The page: its state, its controls, and what they do.

`studio` owns the models and pictures of a running page, each kind of model in a `model_cache`; `session` is what is
remembered of one open page. `query`, `selection` and `edit_form` read what the browser sends, `view`, `edit_view`,
`outlines` and `status_line` make what it shows, `changes` are boxes that were moved or renamed, `advice` names a model
that suits better, `suggesting` words that suit a picture, and `edit_history` keeps the pictures that were made one from
another. `layout`, `inpaint_layout` and `picker` lay the components out, `handlers` and `inpaint_handlers` are what they
do, in the threads of `jobs`, `wiring` connects the two, and `opening` brings back what the browser kept; `endpoints`
serves programs; `files` writes what both hand out.
"""

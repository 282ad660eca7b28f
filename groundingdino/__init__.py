"""Grounding DINO (arXiv 2303.05499): point at things in a picture with words.

    import groundingdino as gd

    detector = gd.Detector.from_pretrained("embedded")
    features = detector.encode_image(image)                    # the part that does not depend on the prompt
    grounding = detector.ground(features, "cat . remote control")
    detections = grounding.detections(box_threshold=0.35)      # supervision.Detections; no model run

    segmenter = gd.Segmenter.from_pretrained("embedded")
    embedding = segmenter.encode_image(image)
    cut_out = segmenter.segment_boxes(embedding, detections)   # the same objects with masks
    clicked = segmenter.segment(embedding, [gd.MaskPrompt(points=[(120, 80, 1)])])

    inpainter = gd.Inpainter.from_pretrained("embedded")
    edited = gd.edit_picture(gd.load_editable(path), cut_out, gd.Edit(gd.Replace("dog")), inpainter)

A folder is a room for one task. None knows those above it:

    command_line             `python -m groundingdino`
    page                     the demo, and the page on which labels are reviewed
    training                 how the embedded models learnt, and how one learns names of your own
    evaluation               what a model is worth on labelled pictures
    annotations, tracking    labels of all formats, read and corrected; videos: what is named, followed through them
    results                  pictures with boxes and masks on them; data sets, JSON, cut-outs
    editing                  masks -> edits by diffusion models, stickers or filling
    segmentation             boxes, points, strokes -> masks
    detection                picture + prompt -> boxes with phrases
    model                    Grounding DINO itself: the whole forward is in model/grounding_dino
    artwork, inputs          drawings by name; pictures, prompts and numbers that callers give
    files, kernels, runtime  downloads and weight files; deformable attention; memory, caches, devices

The way of the data:

    image -> model/backbones, neck -+
                                    +-> model/enhancer -> query_selection -> decoder -> detection/phrases
    prompt -> model/text_encoder ---+                                                        |
                                                  image -> segmentation/segmenter <---- sv.Detections
                                                                 |
                                     editing/edits, mask -> editing/perform -> editing/inpainter

Shapes use one legend: `B` batch, `Q` queries, `T` text tokens, `S` image tokens, `L` levels, `C` channels. Outside
`model` boxes are xyxy in pixels and pictures are RGB; inside, boxes are cxcywh in [0, 1].
"""

import lazy_loader

# torch and transformers take seconds to import, which neither `groundingdino --help` nor a message about a picture, a
# prompt, an option or a model's name needs: `__init__.pyi` lists the public names, each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Training: synthetic scenes, matcher, losses, trainer, evaluation. Inference never imports any of it.

Only the scenes know what is drawn; everything after them sees pictures, phrases and boxes:

    groundingdino/artwork   what can be drawn and what people call it, and the drawings
        artwork.py      cuts them from the packages they come from
        variation.py    one drawing as another hand might have drawn it
        backgrounds.py  what is behind the objects
        canvas.py       a picture that knows what is seen where
        captions.py     a prompt for what is in a picture, and which phrase is true of which object
        scenes.py       pictures with boxes, masks and prompts
        vocabulary.py   the word list of the embedded model
        examples.py     the example pictures of the page
"""

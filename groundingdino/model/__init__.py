"""The model, in the order of the data: backbones, neck, text_encoder, fusion, enhancer, query_selection, decoder."""

import lazy_loader

# Cards of models read `config`, which needs no torch; `__init__.pyi` lists the names, each is imported on first use.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""A trained model applied elsewhere: scorers, a coffea processor, friend trees, ONNX.

Names are loaded when they are first used, so that workers which score with ONNX Runtime need no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Application of a trained model: scorers, a coffea processor, friend trees, ONNX.

Modules are imported when a name is first used, so that workers that score with ONNX Runtime need no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

from .friends import FriendResult, apply_model, datasets_by_path, write_friend
from .metadata import ModelMetadata, model_metadata
from .onnx_export import can_export_onnx, export_onnx
from .onnx_scorer import OnnxScorer
from .processor import ScoreProcessor
from .scorer import Scorer
from .torch_scorer import TorchScorer, load_scorer

__all__ = [
    "FriendResult",
    "ModelMetadata",
    "OnnxScorer",
    "ScoreProcessor",
    "Scorer",
    "TorchScorer",
    "apply_model",
    "can_export_onnx",
    "datasets_by_path",
    "export_onnx",
    "load_scorer",
    "model_metadata",
    "write_friend",
]

//! A graph and its weights become ONNX, fp32 or fp16.

"""Writes a checkpoint as GGUF, with weights in Q8_0, F16 or F32.

The rows of Q and K are reordered from rotary pairs (j, j + 32) to the (2j, 2j + 1) that
the "llama" architecture of GGUF means. `context_length` and `sliding_window` both name
the window: the cache of a lane never needs more, and lanes may be of any length.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch

from .model import EPSILON, HEAD, ROPE_BASE, Shape
from .tokenizer import BOS

TYPES = {
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "f16": gguf.GGMLQuantizationType.F16,
    "f32": gguf.GGMLQuantizationType.F32,
}
NORMAL, CONTROL = 1, 3  # llama.cpp's token types


def read_checkpoint(path, average=0.0):
    """The shape and the tensors of a checkpoint: 0 the last weights, 1 their moving average."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {
        name: torch.lerp(last, mean, average) for (name, last), mean in zip(state["model"].items(), state["average"])
    }
    return Shape(**state["shape"]), {name: t.float().numpy() for name, t in tensors.items()}


def export(checkpoint, tokenizer, path, kind="q8_0", average=0.0, name="small"):
    """Writes the GGUF file `path`."""
    shape, tensors = read_checkpoint(checkpoint, average)
    description = json.loads(Path(tokenizer).read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name(f"lmfs {name}")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_context_length(shape.window)
    writer.add_sliding_window(shape.window)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_dimension_count(HEAD)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_vocab_size(shape.vocabulary)
    _tokenizer(writer, description, shape.vocabulary)
    for target, tensor in named_tensors(shape, tensors):
        if tensor.ndim == 1:
            writer.add_tensor(target, tensor.astype(np.float32))
        else:
            data = gguf.quants.quantize(np.ascontiguousarray(tensor), TYPES[kind])
            writer.add_tensor(target, data, raw_dtype=TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tokenizer(writer, description, vocabulary):
    ids = description["model"]["vocab"]
    tokens = [text for text, _ in sorted(ids.items(), key=lambda item: item[1])]
    if len(tokens) != vocabulary:
        raise ValueError(f"the tokenizer has {len(tokens)} tokens, the model {vocabulary}")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in description["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if token == BOS else NORMAL for token in range(vocabulary)])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(BOS)
    writer.add_add_bos_token(False)


def named_tensors(shape, tensors):
    """(GGUF name, array) of each tensor, rotary rows reordered."""
    yield "token_embd.weight", tensors["embedding"]
    yield "output_norm.weight", tensors["norm"]
    names = {
        "attn_norm": "attn_norm",
        "q": "attn_q",
        "k": "attn_k",
        "v": "attn_v",
        "out": "attn_output",
        "ffn_norm": "ffn_norm",
        "gate": "ffn_gate",
        "up": "ffn_up",
        "down": "ffn_down",
    }
    for layer in range(shape.layers):
        for mine, theirs in names.items():
            tensor = tensors[f"blocks.{layer}.{mine}"]
            if mine in ("q", "k"):
                tensor = interleave(tensor)
            yield f"blk.{layer}.{theirs}.weight", tensor


def interleave(matrix):
    """Rows (j, j + 32) of each head of 64 become rows (2j, 2j + 1)."""
    rows, columns = matrix.shape
    return matrix.reshape(rows // HEAD, 2, HEAD // 2, columns).transpose(0, 2, 1, 3).reshape(rows, columns)

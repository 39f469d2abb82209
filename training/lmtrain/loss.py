"""Cross entropy over a large vocabulary in chunks, so that logits stay in the cache.

The gradients are made with the loss, chunk by chunk; nothing of size rows x vocabulary
ever reaches memory.
"""

import torch

from .tokenizer import BOS

CHUNK = 1024


def _softmax_step(logits, targets, weights):
    """Summed loss of a chunk and its gradient with respect to the logits."""
    wide = logits.float()
    top = wide.amax(-1, keepdim=True)
    shifted = (wide - top).exp()
    total = shifted.sum(-1, keepdim=True)
    picked = wide.gather(1, targets[:, None])
    loss = ((total.log() + top - picked) * weights[:, None]).sum()
    gradient = (shifted * (weights[:, None] / total)).to(logits.dtype)
    return loss, gradient


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(context, states, embedding, targets, weights, step):
        narrow = embedding.to(states.dtype)
        d_states = torch.empty_like(states)
        d_embedding = torch.zeros_like(embedding)
        total = torch.zeros((), device=states.device)
        for start in range(0, len(states), CHUNK):
            rows = slice(start, start + CHUNK)
            y, w = targets[rows], weights[rows]
            loss, gradient = step(states[rows] @ narrow.T, y, w)
            gradient[torch.arange(len(y), device=y.device), y] -= w.to(gradient.dtype)
            total += loss
            d_states[rows] = gradient @ narrow
            d_embedding += gradient.T @ states[rows]
        context.save_for_backward(d_states, d_embedding)
        return total

    @staticmethod
    def backward(context, upstream):
        # The loss is the end of the graph: `upstream` is 1, and multiplying by it costs.
        del upstream
        return *context.saved_tensors, None, None, None


def cross_entropy(states, embedding, targets, scale, step=_softmax_step):
    """Loss in nats summed over the targets that are not `<s>` times `scale`; their number.

    Call `backward` on the loss itself, not on a multiple: that is what `scale` is for.

    `states` [rows, width], `embedding` [vocabulary, width], `targets` [rows]. `step` is
    `_softmax_step` or its compiled form.
    """
    weights = (targets != BOS).float()
    count = int(weights.sum())
    return _ChunkedCrossEntropy.apply(states, embedding, targets, weights * scale, step), count

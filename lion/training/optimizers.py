"""Muon on the hidden matrices and AdamW on everything else, as one optimizer.

`torch.optim.Muon` orthogonalises one matrix at a time; a small student has many small matrices of
few shapes, so here the matrices of one shape are iterated as one batch. The update is the same (a
test compares them). Matrices sharded over processes are not supported.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# The quintic's coefficients, steps and scale: Keller Jordan, https://kellerjordan.github.io/posts/muon
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_EPSILON = 1e-7


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups with `muon: True` hold 2-D matrices that follow Muon instead.

    Muon (Keller Jordan, 2024), for a matrix W of r x c with gradient G:
        M <- m M + (1 - m) G;  U <- (1 - m) G + m M;
        W <- W - lr * decay * W - lr * sqrt(max(1, r / c)) * orthogonal(U).
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
    ) -> None:
        groups = list(groups)
        for group in groups:
            group.setdefault("muon", False)
        super().__init__(groups, lr=lr, weight_decay=weight_decay)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch overloads step on whether a closure is given
        """Take one step; the gradients of the matrices are cleared, so that AdamW skips them."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["muon"]:
                for matrices in _by_shape(group["params"]):
                    self._step_matrices(matrices, group["lr"], group["weight_decay"])
        super().step()
        return loss

    def _step_matrices(self, matrices: list[Tensor], lr: float, decay: float) -> None:
        """Update matrices of one shape together."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        momenta = [self._momentum_of(matrix) for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - self._momentum)
        updates = torch.stack(torch._foreach_lerp(gradients, momenta, self._momentum))
        rows, columns = matrices[0].shape
        scale = -lr * max(1.0, rows / columns) ** 0.5
        torch._foreach_mul_(matrices, 1 - lr * decay)
        torch._foreach_add_(matrices, list(orthogonal(updates)), alpha=scale)
        for matrix in matrices:
            matrix.grad = None

    def _momentum_of(self, matrix: Tensor) -> Tensor:
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
            state["step"] = torch.zeros(())  # AdamW requires it in every state that it loads
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonal(matrices: Tensor) -> Tensor:
    """Return (n, r, c) matrices pushed towards U V^T of their singular value decompositions.

    Five Newton-Schulz steps, X <- aX + (bA + cA^2)X with A = X X^T: singular values end between
    about 0.7 and 1.2. On an accelerator in bfloat16, as its author does.
    """
    wide = matrices.size(-2) <= matrices.size(-1)
    x = matrices if wide else matrices.mT
    if x.device.type != "cpu":
        x = x.bfloat16()
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return (x if wide else x.mT).to(matrices.dtype)


def muon_adamw(
    model: Any, *, matrix_learning_rate: float, learning_rate: float, weight_decay: float
) -> MuonAdamW:
    """Return the optimizer of a language model: its hidden matrices by Muon, the rest by AdamW.

    The rest: embeddings, the output head, and all weights that are not 2-D. Vectors do not decay.
    """
    outer = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Embedding)}
    outer.add(id(getattr(model.get_output_embeddings(), "weight", None)))
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    hidden = [weight for weight in trainable if weight.ndim == 2 and id(weight) not in outer]
    taken = {id(weight) for weight in hidden}
    rest = [weight for weight in trainable if id(weight) not in taken]
    groups: list[dict[str, Any]] = [
        {"params": hidden, "muon": True, "lr": matrix_learning_rate},
        {"params": [weight for weight in rest if weight.ndim >= 2]},
        {"params": [weight for weight in rest if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return MuonAdamW(
        [group for group in groups if group["params"]],
        lr=learning_rate,
        weight_decay=weight_decay,
    )


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Group the parameters that have a gradient by shape, in order of appearance."""
    shapes: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            shapes.setdefault(parameter.shape, []).append(parameter)
    return list(shapes.values())

"""Every attention backend is the reference, and a backend that is not is refused with its reason."""

from __future__ import annotations

import pytest
import torch

from tuitrain_kernels import attention, choose_attention
from tuitrain_kernels.attention.flash import document_borders
from tuitrain_kernels.dispatch import Candidate, first_that_passes

CPU = torch.device("cpu")


def sample(heads: int, *, tokens: int = 33, batch: int = 2, width: int = 16) -> torch.Tensor:
    return torch.randn(batch, tokens, heads, width, dtype=torch.float64)


@pytest.mark.parametrize("backend", ["sdpa", "blocked"])
@pytest.mark.parametrize("tokens", [33, 128, 300])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("documents", [False, True])
def test_equal_to_the_reference_in_values_and_gradients(backend: str, tokens: int, kv_heads: int, documents: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (sample(heads, tokens=tokens).requires_grad_() for heads in (4, kv_heads, kv_heads))
    ids = (torch.arange(tokens) // 110).expand(2, tokens) if documents else None
    grad = torch.randn_like(q)
    results = []
    for name in (backend, "naive"):
        out = attention(q, k, v, backend=name, document_ids_BT=ids)
        results.append([out, *torch.autograd.grad(out, (q, k, v), grad)])
    for got, want in zip(*results, strict=True):
        assert (got - want).abs().max() < 1e-5, "the reference rounds its scores to fp32"


@pytest.mark.parametrize("backend", ["sdpa", "blocked", "naive"])
def test_no_token_sees_the_future_or_another_document(backend: str) -> None:
    torch.manual_seed(0)
    q, k, v = sample(2), sample(2), sample(2)
    ids = (torch.arange(33) >= 20).long().expand(2, 33)
    before = attention(q, k, v, backend=backend, document_ids_BT=ids)
    changed = v.clone()
    changed[:, :20] += 100.0
    after = attention(q, k, changed, backend=backend, document_ids_BT=ids)
    assert torch.equal(before[:, 20:], after[:, 20:]), "the first document leaks into the second"
    later = v.clone()
    later[:, 11:] += 100.0
    assert torch.equal(before[:, :11], attention(q, k, later, backend=backend, document_ids_BT=ids)[:, :11]), "the future leaks"


def test_isolated_documents_equal_documents_alone() -> None:
    torch.manual_seed(0)
    q, k, v = sample(2), sample(2), sample(2)
    ids = (torch.arange(33) >= 20).long().expand(2, 33)
    packed = attention(q, k, v, backend="sdpa", document_ids_BT=ids)
    alone = attention(q[:, 20:], k[:, 20:], v[:, 20:], backend="sdpa")
    assert (packed[:, 20:] - alone).abs().max() < 1e-9


def test_auto_tells_what_it_took_and_what_it_passed_over() -> None:
    choice = choose_attention("auto", CPU, torch.float32, 16, num_heads=4, num_kv_heads=2, documents=False)
    assert choice.name == "sdpa"
    assert "flash-attn: needs a CUDA device" in str(choice)


def test_blocked_is_taken_where_it_pays() -> None:
    def chosen(**changes) -> str:
        facts = {"num_heads": 2, "num_kv_heads": 2, "documents": False, "tokens": 256, "compiled": True} | changes
        return choose_attention("auto", CPU, torch.float32, 16, **facts).name

    assert chosen() == "blocked"
    assert chosen(tokens=4096) == "sdpa"
    assert chosen(compiled=False) == "sdpa"


def test_asking_for_what_cannot_run_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="needs a CUDA device"):
        choose_attention("flash-attn", CPU, torch.float32, 16, num_heads=4, num_kv_heads=4, documents=False)


@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_a_wrong_kernel_is_never_used(error: float) -> None:
    wrong = Candidate(name="wrong", unavailable=lambda: None, error=lambda: error, tolerance=1e-3, praise="fast")
    right = Candidate(name="right", unavailable=lambda: None, error=lambda: 0.0, tolerance=1e-3, praise="slow")
    choice = first_that_passes([wrong, right])
    assert choice.name == "right"
    assert "self-test error" in dict(choice.rejected)["wrong"]
    with pytest.raises(RuntimeError, match="no implementation passed"):
        first_that_passes([wrong])


def test_document_borders_never_join_rows() -> None:
    ids = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 2]])
    borders, longest = document_borders(ids)
    assert borders.tolist() == [0, 2, 4, 7, 8]
    assert longest == 3


@pytest.mark.gpu
@pytest.mark.parametrize("documents", [False, True])
def test_flash_attn_passes_its_self_test(documents: bool) -> None:
    pytest.importorskip("flash_attn")
    choice = choose_attention(
        "flash-attn", torch.device("cuda"), torch.bfloat16, 64, num_heads=4, num_kv_heads=2, documents=documents
    )
    assert choice.name == "flash-attn"

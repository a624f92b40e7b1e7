"""The legend: what the letters behind tensor names mean, everywhere in this repository.

    B  sequences of a micro-batch        D  width of the residual stream (hidden size)
    T  tokens of a sequence              F  inner width of the feed-forward
    N  query heads                       V  vocabulary
    K  key/value heads                   L  layers
    H  width of one head                 R  rows: B * T, or the valid ones of them

`x_BTD` is a tensor of B sequences of T tokens of width D. A mesh has axes, a tensor has dims; counts are `num_*`.
"""
